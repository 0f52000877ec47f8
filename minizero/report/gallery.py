"""What the model wrote: tasks over time, answers right and wrong, rejected proposals, and how hard the tasks were.

Reading order: gallery_sections; then one function per section. Everything shown is drawn with a fixed seed, not chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from minizero.config import Config
from minizero.formatting import number, percent, short
from minizero.report.charts import WIDTH, Band, bin_name, bins, stacked_chart
from minizero.report.curves import legend
from minizero.report.tags import Html, Section, code, details, section, table, tag
from minizero.report.words import rejection_words, requested_lines, reward_of, verdict_words
from minizero.selfplay.run_data import Digest, Row, digests, find_tasks, spread
from minizero.selfplay.run_directory import RunDirectory
from minizero.types import TaskType

READ_STEPS = 60  # steps whose rollouts are read: the page's size and time do not grow with the run
SHOWN_STEPS = 4
RATE_BANDS = (
    ("never solved", "never", lambda rate: rate <= 0),
    ("solved up to a third of the time", "r1", lambda rate: 0 < rate <= 1 / 3),
    ("up to two thirds", "r2", lambda rate: 1 / 3 < rate <= 2 / 3),
    ("more", "r3", lambda rate: 2 / 3 < rate < 1),
    ("always solved", "always", lambda rate: rate >= 1),
)


def gallery_sections(run: RunDirectory, config: Config | None) -> list[Section]:
    """The sections that rollouts/ can tell; none when there are no rollouts."""
    steps = run.rollout_steps()
    found = list(digests(run, spread(steps, READ_STEPS)))
    if not found:
        return []
    read = f"From all {len(found)} steps" if len(found) == len(steps) else f"From {len(found)} of {len(steps)} steps"
    sections = [
        _difficulty(found, read),
        _tasks(found, config),
        _answers(found, config, run.path),
        _rejected(found, read),
    ]
    return [part for part in sections if part]


def _difficulty(found: Sequence[Digest], read: str) -> Section | None:
    rated = [digest for digest in found if digest.solve_rates]
    if not rated:
        return None
    groups = bins(range(len(rated)))
    rates = [[rate for i in group for rate in rated[i].solve_rates] for group in groups]
    bands = [
        Band(label, style, tuple(sum(map(holds, column)) / len(column) for column in rates))
        for label, style, holds in RATE_BANDS
    ]
    columns = [bin_name([rated[i].step for i in group]) for group in groups]
    charts = [
        tag(
            "div",
            stacked_chart(columns, bands, show=lambda value: percent(value, 0), top=1.0, width=width),
            class_=screen,
        )
        for width, screen in ((760, "on-desk"), (WIDTH, "on-phone"))
    ]
    keys = legend([(band.style, band.label) for band in bands])
    lead = "Admitted tasks by their solve rate. Only the blue ones, sometimes solved and sometimes not, can teach."
    count = sum(len(digest.solve_rates) for digest in rated)
    note = f"{read}; {number(count)} tasks with attempts."
    figure = tag("figure", *charts, keys, class_="broad")
    return section(
        "difficulty",
        "How hard its own tasks were",
        tag("p", lead, class_="note"),
        figure,
        tag("p", note, class_="note"),
    )


def _tasks(found: Sequence[Digest], config: Config | None) -> Section | None:
    some = [digest for digest in found if digest.tasks]
    if not some:
        return None
    parts = [tag("p", "One admitted task of each type, drawn by lot at a few steps: not the best ones.", class_="note")]
    for place in spread(range(len(some)), SHOWN_STEPS):
        digest = some[place]
        order = [kind.value for kind in TaskType if kind.value in digest.tasks]
        cards = [_task_card(digest.tasks[kind], digest.attempts, config) for kind in order]
        parts += [tag("h3", f"Step {digest.step}"), tag("div", *cards, class_="cards tall")]
    return section("tasks", "Tasks it gave itself", *parts)


def _task_card(row: Row, attempts: dict[str, list[Row]], config: Config | None) -> Html:
    task = row["task_content"]
    asked = f"asked for {requested_lines(row)}" if requested_lines(row) else ""
    head = tag("div", tag("strong", row["type"]), tag("span", asked, class_="note"), class_="top")
    return tag(
        "article",
        head,
        *task_blocks(task),
        *_attempts(attempts.get(row["task"], []), row),
        _reward(row, config),
        class_="card",
    )


def task_blocks(task: Row, to_find: str = "") -> list[Html]:
    """Program, input and output of a task; for induction its pairs and message. `to_find` marks what is asked."""
    found = {"deduction": "output", "abduction": "input", "induction": "program", "error": "raises"}[task["type"]]

    def name(part: str) -> Html:
        return _label(f"{part} {to_find}" if to_find and part == found else part)

    is_marked = to_find and found == "program"
    blocks = [*([name("program")] if is_marked else []), code(task["program"])]
    if task["type"] != TaskType.INDUCTION:
        (given, answer), *_ = task["pairs"]
        result = "raises" if task["type"] == TaskType.ERROR else "output"
        return [*blocks, name("input"), code(given), name(result), code(answer)]
    if task.get("message"):
        blocks += [_label("message to the solver"), code(task["message"])]
    shown = int(task.get("shown", 0))
    rows = [[tag("code", short(given, 200)), tag("code", short(answer, 200))] for given, answer in task["pairs"]]
    hidden = details(f"{len(rows) - shown} hidden pairs test the answer", table(["input", "output"], rows[shown:]))
    return [*blocks, table(["input shown", "output shown"], rows[:shown]), hidden]


def _attempts(rows: Sequence[Row], proposal: Row) -> list[Html]:
    if not rows:
        return [tag("p", "no attempts", class_="label")]
    marks = [_mark(row["verdict"]) for row in rows]
    right = sum(row["verdict"] == "correct" for row in rows)
    line = tag("p", tag("span", *marks, class_="marks"), f" {right} of {len(rows)} attempts right", class_="label")
    kinds = Counter((row["verdict"], _said(row)) for row in rows)
    cells = [
        [f"{count} ×", tag("code", short(said, 300)), tag("span", verdict, title=verdict_words(verdict))]
        for (verdict, said), count in kinds.most_common()
    ]
    return [line, details("what they answered", table(["", "answer", "verdict"], cells))]


def _mark(verdict: str) -> Html:
    is_right = verdict == "correct"
    return tag("span", "✓" if is_right else "✗", class_="right" if is_right else "wrong", title=verdict)


def _said(row: Row) -> str:
    return str(row["text"] if row.get("answer") is None else row["answer"])


def _answers(found: Sequence[Digest], config: Config | None, path: Path) -> Section | None:
    """The latest right and the latest wrong answer of each type that was drawn."""
    picked: list[tuple[int, Row]] = []
    for kind in TaskType:
        for is_right in (True, False):
            of = [(d.step, d.answers[kind.value, is_right]) for d in found if (kind.value, is_right) in d.answers]
            picked += of[-1:]
    if not picked:
        return None
    tasks = find_tasks(path, {row["task"] for _, row in picked})
    cards = [_answer_card(step, row, tasks.get(row["task"]), config) for step, row in picked]
    lead = "Of each task type a right and a wrong answer to a task from the buffer, drawn by lot near the run's end."
    return section(
        "answers", "Answers, right and wrong", tag("p", lead, class_="note"), tag("div", *cards, class_="cards tall")
    )


def _answer_card(step: int, row: Row, task: Row | None, config: Config | None) -> Html:
    is_right = row["verdict"] == "correct"
    verdict = tag("span", "✓ right" if is_right else f"✗ {row['verdict']}", class_="right" if is_right else "wrong")
    head = tag("div", tag("strong", f"{row['type']}, step {step}"), verdict, class_="top")
    asked = (
        task_blocks(task, "(to be found)")
        if task
        else [tag("p", "The task is no longer in the buffer's file.", class_="label")]
    )
    answer = [_label("its answer"), code(_said(row))]
    why = (
        []
        if is_right
        else [tag("p", " ".join(filter(None, [verdict_words(row["verdict"]), row["detail"]])), class_="note")]
    )
    return tag("article", head, *asked, *answer, *why, _reward(row, config), class_="card")


def _reward(row: Row, config: Config | None) -> Html:
    """What the row earned, term by term."""
    reward = reward_of(row)
    is_shuffled = reward.value != row["reward"]
    lines = []
    for part in reward.parts:
        counts = "" if not reward.rule else "measured only" if part.counts is None else number(part.counts)
        weight = "" if part.counts is None or part.weight == 1 else f"× {number(part.weight)}"
        lines.append([tag("code", part.name), number(part.value), weight, counts])
    rule = f" = {reward.rule}" if reward.rule and not is_shuffled else ""
    parts = [tag("p", "earned ", tag("b", _signed(row["reward"])), rule, class_="label")]
    if is_shuffled:
        words = f"Rewards were shuffled in this run. Its own was {_signed(reward.value)} = {reward.rule}."
        parts.append(tag("p", words, class_="label alarm"))
    if len(lines) > 1 or (lines and not reward.rule):
        parts.append(details("term by term", table(["term", "value", "weight", "counts"], lines)))
    return tag("div", *parts)


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{number(abs(value))}"


def _rejected(found: Sequence[Digest], read: str) -> Section | None:
    counts: Counter[str] = Counter()
    for digest in found:
        counts.update(digest.rejected)
    proposals = sum(digest.proposals for digest in found)
    if not counts:
        return None
    most = max(counts.values())
    rows = []
    for reason, count in counts.most_common():
        meter = tag("span", class_="meter", style=f"width: {max(2, round(100 * count / most))}px")
        examples = [(d.step, d.rejected_examples[reason]) for d in found if reason in d.rejected_examples]
        shown = [part for step, row in examples[-2:] for part in (_about(step, row), _proposed(row))]
        words = rejection_words(reason)
        share = tag("span", meter, f" {percent(count / proposals)}")
        rows.append([tag("code", reason), number(count), share, tag("div", words, details("examples", *shown))])
    lost = sum(counts.values())
    lead = (
        f"{read}: {number(lost)} of {number(proposals)} proposals did not become tasks ({percent(lost / proposals)})."
    )
    return section(
        "rejected",
        "Rejected proposals",
        tag("p", lead, class_="note"),
        table(["reason", "count", "share", ""], rows, "reasons"),
    )


def _about(step: int, row: Row) -> Html:
    asked = requested_lines(row)
    return _label(f"step {step}, {row['type']}" + (f", asked for {asked}" if asked else ""))


def _proposed(row: Row) -> Html:
    if "program" not in row:
        return code(row["text"])
    inputs = "\n".join(row["inputs"])
    return tag("div", code(row["program"]), _label("input"), code(inputs)) if inputs else code(row["program"])


def _label(text: str) -> Html:
    return tag("p", text, class_="label")
