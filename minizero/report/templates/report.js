// What a page does by itself: the numbers under a pointer or finger, and lists that can be searched and filtered.
// Without it a page shows the same, all at once. Text goes in and out as text, never as markup.
(() => {
  "use strict";

  // Numbers at once, and on a touch screen too: a <title> shows up only after a second, and not there.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  for (const title of document.querySelectorAll("svg title")) {
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }
  const show = (event) => {
    const shape = event.target.closest?.("[data-tip]");
    tip.hidden = !shape;
    if (!shape) return;
    tip.textContent = shape.dataset.tip;
    const x = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8);
    const y = event.clientY - tip.offsetHeight - 12;
    tip.style.left = `${Math.max(8, x)}px`;
    tip.style.top = `${y < 8 ? event.clientY + 16 : y}px`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  // A list's items say what they are in data attributes; each that differs among them becomes a choice.
  for (const list of document.querySelectorAll("[data-list]")) {
    const items = [...list.querySelectorAll("[data-item]")];
    const bar = document.createElement("p");
    bar.className = "filters";
    const search = document.createElement("input");
    search.type = "search";
    search.placeholder = "search";
    search.setAttribute("aria-label", "search");
    const count = document.createElement("span");
    const choices = [];
    for (const key of list.dataset.list.split(" ")) {
      const values = [...new Set(items.map((item) => item.dataset[key]))].sort();
      if (values.length < 2) continue;
      const choice = document.createElement("select");
      choice.setAttribute("aria-label", key);
      choice.append(new Option(`any ${key}`, ""), ...values.map((value) => new Option(value || "none", value)));
      choices.push([key, choice]);
    }
    const texts = items.map((item) => item.textContent.toLowerCase());
    const apply = () => {
      const wanted = search.value.toLowerCase();
      let shown = 0;
      items.forEach((item, i) => {
        const fits = choices.every(([key, choice]) => !choice.selectedIndex || item.dataset[key] === choice.value);
        item.hidden = !(fits && texts[i].includes(wanted));
        shown += !item.hidden;
      });
      count.textContent = `${shown} of ${items.length}`;
    };
    bar.append(search, ...choices.map(([, choice]) => choice), count);
    bar.addEventListener("input", apply);
    list.prepend(bar);
    apply();
  }
})();
