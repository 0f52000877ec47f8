"""Composite functions: earlier programs, renamed g_0, g_1, ..., that a new program must call and build on.

Reading order: Ask and schedule (how many, how often), renamed (what can be built on), compose (what the proposer wrote
becomes one program with them, or a ParseError). After AZR's composite option (docs/algorithm.md 2.2), which is off in
all of its scripts: the paper found that proposers drift to f(x) = g(x).

Departs from AZR: arguments of the calls may be anything; both ends of n_min..n_max are drawn (numpy's randint leaves
the upper one out); as many programs must be there as are drawn, not more than n_max examples; programs with helpers,
classes or variables beside f are not built on, since two of them may use one name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from minizero.tasks.programs import parse, rename
from minizero.types import ParseError, Proposal, Task

if TYPE_CHECKING:
    from minizero.config.tasks import CompositesConfig


@dataclass(frozen=True, slots=True)
class Ask:
    """What holds at one step: a propose prompt asks for composites with this chance, for n_min to n_max of them."""

    chance: float
    n_min: int
    n_max: int


def schedule(settings: CompositesConfig, step: int) -> Ask | None:
    """What holds at a step; None before composites.start_step, and always when that is not above 0.

    With the scheduler n_max and chance grow by one and by the increment: first an interval after their start.
    Defaults: n_max 1 at step 150, 2 at 151, 3 at 201 and later; chance 0.50 at 150, 0.51 at 151.
    """
    if settings.start_step <= 0 or step < settings.start_step:
        return None
    chance, n_max, plan = settings.chance, settings.n_max, settings.scheduler
    if plan.enabled:
        if step >= plan.update_num_programs_start:
            grown = n_max + (step - plan.update_num_programs_start) // plan.update_num_programs_interval
            n_max = min(grown, plan.num_programs_max)
        if step >= plan.update_probability_start:
            times = (step - plan.update_probability_start) // plan.update_probability_interval
            chance = min(chance + times * plan.update_probability_increment, plan.update_probability_max)
    return Ask(chance, settings.n_min, n_max)


def renamed(tasks: Iterable[Task], count: int) -> tuple[str, ...]:
    """Up to `count` different programs of these tasks as g_0, g_1, ..., without those that cannot be built on."""
    texts: list[str] = []
    seen: set[str] = set()
    for task in tasks:
        if len(texts) == count:
            break
        text = None if task.program in seen else _alone(task.program, f"g_{len(texts)}")
        seen.add(task.program)
        texts += [text] if text is not None else []
    return tuple(texts)


def compose(proposal: Proposal, composites: Sequence[str]) -> Proposal | ParseError:
    """The proposal with its program under the composites; a ParseError when it does not use them, or redefines one.

    A program that does not parse is left to admission, which says so.
    """
    whole = "".join(f"{text}\n\n" for text in composites) + proposal.program
    composed = replace(proposal, program=whole, composites=tuple(composites))
    tree = parse(proposal.program)
    if tree is None:
        return composed
    names = [f"g_{i}" for i in range(len(composites))]
    bound = set(_bound(tree))
    redefined = [name for name in names if name in bound]
    if redefined:
        return ParseError("composite_redefined", ", ".join(redefined))
    calls = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    missing = [name for name in names if name not in calls]
    return ParseError("composite_unused", ", ".join(missing)) if missing else composed


def _alone(program: str, name: str) -> str | None:
    """The program with its f called `name`, when f and imports are all that it defines."""
    tree = parse(program)
    body = tree.body if tree else []
    others = [node for node in body if not isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef))]
    functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    if others or functions != ["f"] or any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in body):
        return None
    return rename(program, "f", name)


def _bound(tree: ast.Module) -> Iterable[str]:
    """Every name that the program gives a meaning to, anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
