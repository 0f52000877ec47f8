"""Does our scorer agree with others', sample by sample? Published answers and mutated solutions, judged by both.

    python benchmarks/agreement.py evalplus --checkout DIR --python PYTHON [--published DIR] [--mutants 2] [--every 1]
    python benchmarks/agreement.py cruxeval --checkout DIR [--every 1]

evalplus: DIR is a checkout of EvalPlus (its development head), whose own check_correctness judges every sample with
PYTHON, an interpreter that has EvalPlus's dependencies. Samples are mutants of the canonical solutions, made by a
seed, and with --published the answers of Qwen2.5-Coder's base models from a checkout of that repository.
cruxeval: DIR is a checkout of CRUXEval, which holds CodeLlama-7B's answers with their scores.
A checkout may be a bare git directory. Ends with status 1 if a verdict differs but
on the tasks KNOWN for it; --out writes a Markdown table.

Reading order: main, evalplus_part and cruxeval_part (the stories), mutants, then how a checkout is read. The text
THEIRS runs in the other interpreter.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minizero.evaluation.datafile import find
from minizero.evaluation.external import data_file
from minizero.evaluation.problems import PASS, Problem
from minizero.evaluation.scoring import Submission, score
from minizero.evaluation.suites import suite
from sandbox import Sandbox

SUITES = {"humaneval": "humaneval+", "mbpp": "mbpp+"}
SEED = 20_251
MODELS = ("1.5b-base", "7b-base")
PUBLISHED = "qwencoder-eval/base/outptus/qwen2.5-coder/{model}/evalplus/{dataset}/generated.jsonl"
KNOWN = ("sample_135", "sample_344", "sample_364")  # no answer of ours can be right: see suites/cruxeval.py
CRUXEVAL = "samples/evaluation_results/sample_scored_codellama-7b_temp0.2_{kind}.json"


class Sample(NamedTuple):
    """A program, and where it is from."""

    origin: str
    task: str
    text: str


class Line(NamedTuple):
    """A line of the table."""

    what: str
    samples: int
    both_pass: int
    slow: int  # differ, but no longer where the other scorer has ten times as long
    differ: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["evalplus", "cruxeval"])
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--python", default="", help="an interpreter that has EvalPlus's dependencies")
    parser.add_argument("--published", type=Path, help="a checkout of Qwen2.5-Coder, for its published answers")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--dataset", choices=list(SUITES), action="append")
    parser.add_argument("--mutants", type=int, default=2, help="of each task")
    parser.add_argument("--every", type=int, default=1, help="only every N-th task")
    parser.add_argument("--task", action="append", help="only this task; may be repeated")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="a directory that remembers the other scorer's verdicts")
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    asked = parser.parse_args()
    lines = []
    for line in cruxeval_part(asked) if asked.part == "cruxeval" else evalplus_part(asked):
        print(f"{line.what}: {line.samples} samples, {len(line.differ)} differ", flush=True)
        lines.append(line)
    table = ["| samples of | samples | right for both | differ by the clock | differ |", "|---|---|---|---|---|"]
    table += [f"| {x.what} | {x.samples} | {x.both_pass} | {x.slow} | {len(x.differ)} |" for x in lines]
    odd = [text for x in lines for text in x.differ]
    print("\n".join([*table, *odd]))
    unknown = [text for text in odd if not any(f" {task}:" in text for task in KNOWN)]
    if asked.out:
        asked.out.write_text("\n".join([*table, "", *odd]) + "\n", encoding="utf-8")
    raise SystemExit(1 if unknown or not lines else 0)


# -- EvalPlus --


def evalplus_part(asked: argparse.Namespace) -> Iterator[Line]:
    for dataset in asked.dataset or SUITES:
        chosen = suite(SUITES[dataset])
        problems = [p for p in chosen.load(asked.data)[:: asked.every] if not asked.task or p.id in asked.task]
        samples = [s for p in problems for s in mutants(dataset, p, asked.mutants)]
        if asked.published:
            samples += published(asked.published, dataset, problems)
        data = find(data_file(chosen.name), asked.data)
        theirs = judge_theirs(asked, dataset, data, samples)
        with Sandbox(workers=asked.workers) as box:
            judged = score(chosen, problems, [Submission(s.task, s.text) for s in samples], box, workers=asked.workers)
        base, plus = chosen.levels
        ours = [(v[base] == PASS, v[base] == v[plus] == PASS) for v in judged]
        odd = [i for i, found in enumerate(theirs) if ours[i] != passes(found)]
        # Its limits are of the clock's time: with more of it, is it still of another mind?
        again = dict(zip(odd, judge_theirs(asked, dataset, data, [samples[i] for i in odd], patience=10), strict=True))
        slow = set()
        for i in odd:
            minds = zip(passes(theirs[i]), passes(again[i]), strict=True)
            if all(mine in pair for mine, pair in zip(ours[i], minds, strict=True)):
                slow.add(i)
        for origin in dict.fromkeys(s.origin for s in samples):
            places = [i for i, s in enumerate(samples) if s.origin == origin]
            differ = [
                f"{origin}, {samples[i].task}: EvalPlus {theirs[i]}, ours {judged[i][base]}, {judged[i][plus]} "
                f"(base, plus)\n{indented(samples[i].text)}"
                for i in places
                if i in odd and i not in slow
            ]
            right = sum(ours[i][1] and theirs[i] == (PASS, PASS) for i in places)
            yield Line(f"{chosen.title}: {origin}", len(places), right, len(slow & set(places)), differ)


def passes(found: tuple[str, str]) -> tuple[bool, bool]:
    """Right on base; right on base and plus."""
    return found[0] == PASS, found == (PASS, PASS)


def published(checkout: Path, dataset: str, problems: Sequence[Problem]) -> Iterator[Sample]:
    """Answers of Qwen2.5-Coder's base models to these problems."""
    by_id = {problem.id: problem for problem in problems}
    for model in MODELS:
        for line in read(checkout, PUBLISHED.format(model=model, dataset=dataset)).splitlines():
            row = json.loads(line)
            if problem := by_id.get(row["task_id"]):
                text = row["solution"] if "solution" in row else problem.prompt + row["completion"]
                yield Sample(f"Qwen2.5-Coder-{model}", problem.id, text)


def judge_theirs(
    asked: argparse.Namespace, dataset: str, data: Path, samples: Sequence[Sample], *, patience: int = 1
) -> list[tuple[str, str]]:
    """(base, plus) of each sample by the checkout's check_correctness, with `patience` times its time; remembered in
    --keep by text."""
    if not samples:
        return []
    memory = asked.keep / f"{dataset}-{patience}.jsonl" if asked.keep else None
    known: dict[str, tuple[str, str]] = {}
    if memory and memory.is_file():
        known = {row["key"]: (row["base"], row["plus"]) for row in map(json.loads, memory.read_text().splitlines())}
    keys = [hashlib.sha256(f"{s.task}\0{s.text}".encode()).hexdigest() for s in samples]
    todo = {key: s for key, s in zip(keys, samples, strict=True) if key not in known}
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        unpack(asked.checkout, "evalplus", here)
        rows = [json.dumps({"key": k, "task": s.task, "solution": s.text}) + "\n" for k, s in todo.items()]
        (here / "samples.jsonl").write_text("".join(rows))
        (here / "theirs.py").write_text(THEIRS)
        override = "HUMANEVAL_OVERRIDE_PATH" if dataset == "humaneval" else "MBPP_OVERRIDE_PATH"
        cache = str((asked.keep or here).resolve())  # the reference outputs take longest
        environment = os.environ | {override: str(data), "PYTHONPATH": str(here), "XDG_CACHE_HOME": cache}
        command = [asked.python, "theirs.py", dataset, str(asked.workers), str(patience)]
        done = subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True)
        assert done.stdout is not None
        for line in done.stdout:
            if line.startswith("{"):
                row = json.loads(line)
                known[row["key"]] = (row["base"], row["plus"])
                if memory:
                    memory.parent.mkdir(parents=True, exist_ok=True)
                    with memory.open("a") as file:
                        file.write(line)
        if done.wait():
            raise SystemExit(f"EvalPlus ended with status {done.returncode}")
    return [known[key] for key in keys]


THEIRS = """
import json, sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from evalplus.data import get_human_eval_plus, get_human_eval_plus_hash, get_mbpp_plus, get_mbpp_plus_hash
from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
from evalplus.evaluate import check_correctness, get_groundtruth

if __name__ == "__main__":
    dataset, workers, patience = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if dataset == "humaneval":
        problems, name, no_value = get_human_eval_plus(), get_human_eval_plus_hash(), []
    else:
        problems, name, no_value = get_mbpp_plus(), get_mbpp_plus_hash(), MBPP_OUTPUT_NOT_NONE_TASKS
    rows = [json.loads(line) for line in open("samples.jsonl")]
    # Of all problems, because the file that remembers them bears the data's hash alone.
    expected = get_groundtruth(problems, name, no_value) if rows else {}
    with ProcessPoolExecutor(workers) as pool:
        started = {
            pool.submit(check_correctness, dataset, 0, problems[r["task"]], r["solution"], expected[r["task"]],
                        fast_check=True, min_time_limit=4.0 * patience, gt_time_limit_factor=4.0 * patience): r["key"]
            for r in rows
        }
        for done in as_completed(started):
            found = done.result()
            row = {"key": started[done], "base": found["base"][0], "plus": found["plus"][0]}
            print(json.dumps(row), flush=True)
"""


# -- mutants --

_COMPARE: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATE: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv, ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_BODIES = ("raise ValueError('mutant')", "while True: pass", "return None", "import numpy", "return [0] * 10 ** 11")


def mutants(dataset: str, problem: Problem, count: int) -> Iterator[Sample]:
    """The canonical solution changed in one place, `count` times; the same ones each time. Some stay right."""
    rng = random.Random(f"{SEED}/{dataset}/{problem.id}")
    tree = ast.parse(problem.solution)
    places = list(_places(tree))
    for _ in range(count):
        copy = ast.parse(problem.solution)
        if rng.random() < 0.08 or not places:
            function = next(n for n in ast.walk(copy) if isinstance(n, ast.FunctionDef) and n.name == problem.entry)
            function.body = ast.parse(f"def f():\n    {rng.choice(_BODIES)}").body[0].body  # type: ignore[attr-defined]
        else:
            _change(list(_places(copy))[rng.randrange(len(places))], rng)
        yield Sample("mutants", problem.id, ast.unparse(ast.fix_missing_locations(copy)))


def _places(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        match node:
            case ast.Compare(ops=[first, *_]) if type(first) in _COMPARE:
                yield node
            case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in _OPERATE:
                yield node
            case ast.Constant(value=int() | float() | str() as value) if type(value) is not bool:
                yield node
            case ast.Return(value=ast.expr()):
                yield node


def _change(node: Any, rng: random.Random) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = _COMPARE[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = _OPERATE[type(node.op)]()
    elif isinstance(node, ast.Constant):
        value: Any = node.value
        node.value = value + "x" if isinstance(value, str) else value + rng.choice((-1, 1, 1e-9))
    else:
        wrapped = rng.choice(("list({})", "tuple({})", "float({})", "str({})", "[{}]", "({}) or None"))
        node.value = ast.parse(wrapped.format(ast.unparse(node.value)), mode="eval").body


# -- CRUXEval --


def cruxeval_part(asked: argparse.Namespace) -> Iterator[Line]:
    """Its scores leave answers out that it cannot read, so only lists that are whole can be compared by place."""
    for kind, name in (("input", "cruxeval-i"), ("output", "cruxeval-o")):
        chosen = suite(name)
        problems = {p.id: p for p in chosen.load(asked.data)[:: asked.every]}
        found = json.loads(read(asked.checkout, CRUXEVAL.format(kind=kind)))
        pairs = [
            (Submission(task, bare(kind, text)), text, verdict)
            for task, texts in found["raw_generations"].items()
            if task in problems and len(found["raw_scored_generations"][task]) == len(texts)
            for text, verdict in zip(texts, found["raw_scored_generations"][task], strict=True)
        ]
        once = list(dict.fromkeys(pairs))
        with Sandbox(workers=asked.workers) as box:
            judged = score(chosen, list(problems.values()), [a for a, *_ in once], box, workers=asked.workers)
        differ = [
            f"{name}, {a.task}: theirs {right}, ours {v[name]}\n{indented(text)}"
            for (a, text, right), v in zip(once, judged, strict=True)
            if right != (v[name] == PASS)
        ]
        right = sum(was and v[name] == PASS for (_, _, was), v in zip(once, judged, strict=True))
        yield Line(f"{chosen.title}: CodeLlama-7B", len(once), right, 0, differ)


def bare(kind: str, text: str) -> str:
    """The arguments of a call, or the value."""
    if kind == "output":
        return text
    match = re.fullmatch(r"f\((.*)\)", text.strip(), re.DOTALL)
    return match[1] if match else ""


# -- checkouts --


def read(checkout: Path, path: str) -> str:
    """A file of a checkout or of a bare git directory's newest commit."""
    if (checkout / path).is_file():
        return (checkout / path).read_text(encoding="utf-8")
    command = ["git", "-C", str(checkout), "show", f"HEAD:{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def unpack(checkout: Path, folder: str, out: Path) -> None:
    """Copy one folder of a checkout's newest commit."""
    archive = subprocess.run(
        ["git", "-C", str(checkout), "archive", "HEAD", folder], check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(out)], input=archive, check=True)


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


if __name__ == "__main__":
    main()
