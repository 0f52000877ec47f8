"""Under which licence a base model is, for the cards of what is made from it; never guessed.

Reading order: Licence, licence_of (where it is looked for, in order), texts_of (the files to pass on with whole
weights), then how a model's own files are read. What they hold is somebody else's text: it is searched, never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minizero.models.names import HUB_S, TINY, locate

LONGEST = 200_000  # characters read of a file
KNOWN = {  # of the bases in configs/: name -> licence as the hub calls it; for machines that reach no hub
    "Qwen/Qwen2.5-Coder-0.5B-Instruct": "apache-2.0",
    "Qwen/Qwen2.5-Coder-1.5B": "apache-2.0",
    "Qwen/Qwen2.5-Coder-3B": "qwen-research",
    "Qwen/Qwen2.5-Coder-7B": "apache-2.0",
    "Qwen/Qwen2.5-7B": "apache-2.0",
    "Qwen/Qwen3-4B-Base": "apache-2.0",
    "meta-llama/Llama-3.1-8B": "llama3.1",
}
BEGINNINGS = (  # what stands in the first lines of a licence -> the hub's name for it
    (r"Apache License\s+Version 2\.0", "apache-2.0"),
    (r"MIT License", "mit"),
    (r"Qwen RESEARCH LICENSE", "qwen-research"),
    (r"Qwen LICENSE AGREEMENT", "qwen"),
    (r"LLAMA (3(?:\.\d)?) COMMUNITY LICENSE", r"llama\1"),
)
ON_THE_HUB = re.compile(
    r"apache-2\.0|mit|bsd-[\w.-]+|llama[23](?:\.\d)?|gemma|openrail|cc-by[\w.-]*|bigcode-openrail-m"
)
FILES = re.compile(r"(?:licen[cs]e|notice|use_policy|copying)[\w.-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Licence:
    """`name`: the hub's name for it; "" where there is a text that nobody here recognises, or nothing at all.
    `source` says where it was found, or where to look."""

    name: str
    source: str

    @property
    def is_on_the_hub(self) -> bool:
        """Whether the hub has this name in its list; others go under `other`, with their name beside it."""
        return bool(ON_THE_HUB.fullmatch(self.name))

    @property
    def words(self) -> str:
        """A sentence for the card."""
        return f"{self.name} ({self.source})" if self.name else f"unknown: {self.source}"


def licence_of(name: str, *, shown: str = "", ask_hub: bool = True) -> Licence:
    """The licence of a model by its name or directory; `shown`: what the card calls it, where that is another name.

    Looked for in the model's directory (README front matter, then a licence file) or the hub's local cache; then on the
    hub, which has seconds to answer; then in KNOWN; then it is unknown.
    """
    if name == "tiny":
        return Licence("apache-2.0", "minizero's own model, under minizero's own licence")
    for place in _places(name):
        found = _in_readme(place) or _in_texts(place)
        if found:
            return found
    hub_name = next((each for each in (shown, name) if re.fullmatch(r"[\w.-]+/[\w.-]+", each)), "")
    if ask_hub and hub_name and not Path(hub_name).exists() and (found := _on_the_hub(hub_name)):
        return found
    called = next((each for each in (shown, name) if each in KNOWN), "")
    if called:
        return Licence(KNOWN[called], f"by minizero's own table; the page of {called} on the hub has the text")
    where = f"the page of {hub_name} on the hub" if hub_name else "where the base model came from"
    return Licence("", f"look at {where}")


def texts_of(name: str) -> list[Path]:
    """Licence and notice files of a model that is on this machine: whoever passes on its weights passes them on."""
    places = _places(name) if name != "tiny" else ()
    return [file for place in places for file in sorted(place.iterdir()) if _is_text(file)]


def _places(name: str) -> Iterator[Path]:
    """The directory of a model, or where the hub's cache holds it."""
    source = Path(locate(name))
    if source.is_dir() and source != TINY:
        yield source
        return
    try:
        from huggingface_hub import try_to_load_from_cache

        for file in ("README.md", "config.json"):
            cached = try_to_load_from_cache(str(source), file)
            if isinstance(cached, str):
                yield Path(cached).parent
                return
    except (ImportError, ValueError):
        return


def _in_readme(place: Path) -> Licence | None:
    """From the front matter of README.md: license, and license_name where that is "other"."""
    text = _read(place / "README.md")
    front = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    if front is None:
        return None
    fields = dict(
        re.findall(r"^(license|license_name):[ \t]*([\w.-]+)[ \t]*$", front[1].replace("'", "").replace('"', ""), re.M)
    )
    name = fields.get("license", "")
    if name == "other":
        name = fields.get("license_name", "")
    return Licence(name.lower(), "README.md in the model's directory") if name else None


def _in_texts(place: Path) -> Licence | None:
    for file in sorted(place.iterdir()):
        if not _is_text(file) or not file.name.lower().startswith(("license", "licence", "copying")):
            continue
        beginning = _read(file)[:2000]
        for pattern, name in BEGINNINGS:
            if found := re.search(pattern, beginning, re.IGNORECASE):
                return Licence(found.expand(name).lower(), f"{file.name} in the model's directory")
        return Licence("", f"look at {file.name} in the model's directory, whose text is none that minizero knows")
    return None


def _on_the_hub(name: str) -> Licence | None:
    try:
        from huggingface_hub import HfApi

        data = HfApi().model_info(name, timeout=HUB_S).card_data
    except Exception:  # no network, offline mode, no such model, terms not accepted: then nothing is known
        return None
    fields = data.to_dict() if data is not None else {}
    found = fields.get("license")
    if found == "other":
        found = fields.get("license_name")
    return Licence(found.lower(), f"as the page of {name} on the hub says") if isinstance(found, str) else None


def _is_text(file: Path) -> bool:
    return bool(FILES.fullmatch(file.name)) and file.is_file()


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            return text.read(LONGEST)
    except OSError:
        return ""
