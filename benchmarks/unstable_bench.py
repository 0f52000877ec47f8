"""How often a program whose result depends on chance becomes a task, counted through the real admission.

    python benchmarks/unstable_bench.py [--tries 1000] [--workers 2] [--kind WORDS] [--out benchmarks/unstable.md]

Each kind has only a few different results, so that several runs agree by accident now and then; most order objects by
their addresses. Every try is another text (names and constants differ), proposed as a deduction task with the default
settings. Reading order: KINDS, count, upper_bound, then the table.
"""

import argparse
import os
import platform
import random
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from minizero.config.tasks import AdmissionConfig  # noqa: E402
from minizero.tasks.admission import admit  # noqa: E402
from minizero.tasks.event_loop import EventLoop  # noqa: E402
from minizero.types import Proposal, Rejection, TaskType  # noqa: E402
from sandbox import Sandbox  # noqa: E402

NODE = "class {N}:\n    def __init__(self, n):\n        self.n = n\n\n"
SLOTS = "class {N}:\n    __slots__ = ('n', 'm')\n    def __init__(self, n):\n        self.n = n\n\n"
KINDS = {
    "order of two objects in a set": NODE + "def f(x):\n    return [o.n for o in {{{N}(x), {N}({k})}}]",
    "order of two objects with slots": SLOTS + "def f(x):\n    return [o.n for o in {{{N}(x), {N}({k})}}]",
    "first of three objects in a set": NODE + "def f(x):\n    return next(iter({{{N}(x), {N}({k}), {N}(0)}})).n",
    "object popped from a set": NODE + "def f(x):\n    s = set(map({N}, [x, {k}]))\n    return s.pop().n",
    "union of sets of objects": NODE + "def f(x):\n    return [o.n for o in {{{N}(x)}} | {{{N}({k})}}]",
    "frozenset of objects": NODE + "def f(x):\n    return [o.n for o in frozenset([{N}({k}), {N}(x)])]",
    "pairs that hold objects": NODE + "def f(x):\n    return [p[0] for p in {{(x, {N}(1)), ({k}, {N}(2))}}]",
    "order of two functions": "def f(x):\n    return [g() for g in {{lambda: x, lambda: {k}}}]",
    "order of two classes": "def f(x):\n"
    "    return [c.__name__ for c in {{type('{N}', (), {{}}), type('B', (), {{}})}}]",
    "order of two iterators": "def f(x):\n    return [list(i) for i in {{iter([x]), iter([{k}, 1])}}]",
    "order of two exceptions": "def f(x):\n    return [e.args[0] for e in {{ValueError(x), ValueError({k})}}]",
    # 1.0 lies where a nan may lie: floats take every second slot, and beside some numbers no order but one can come.
    "order of a number and a nan": "def f(x):\n    return [str(v) for v in {{float('nan'), 1.0}}] + [x, {k}]",
    "order of two generators": "def f(x):\n    return [next(g) for g in {{(i for i in [x]), (i for i in [{k}])}}]",
    "order of two methods": "def f(x):\n    a, b = [x], [{k}]\n    return [m() for m in {{a.pop, b.pop}}]",
    "order of two partial functions": "from functools import partial\n\ndef f(x):\n"
    "    return [p() for p in {{partial(int, x), partial(int, {k})}}]",
    "last digit but three of a repr": "def f(x):\n    return (int(repr(object())[-4], 16) + x) % 2",
    "high digit of a repr": "def f(x):\n    return (int(repr(object())[-8], 16) + x + {k}) % 2",
    "parity of an object's text": NODE + "def f(x):\n    return (sum(map(ord, str({N}(x)))) + {k}) % 2",
    "parity of its own text": "def f(x):\n    return (sum(map(ord, repr(f))) + x + {k}) % 2",
    "text of an iterator in an f-string": "def f(x):\n    return sum(map(ord, f'{{map(str, [x, {k}])}}')) % 2",
    "bit of an object's hash": "def f(x):\n    return (hash(object()) + x + {k}) % 2",
    "bit of an address": "def f(x):\n    return (id([x]) // 16 + {k}) % 2",
    "which of two addresses is lower": NODE + "def f(x):\n    a, b = {N}(x), {N}({k})\n    return id(a) < id(b)",
    "sorted by address": NODE + "def f(x):\n    return [o.n for o in sorted([{N}(x), {N}({k})], key=id)]",
    "sorted by hash": NODE + "def f(x):\n    return [o.n for o in sorted([{N}(x), {N}({k})], key=hash)]",
    "order of two strings in a set": "def f(x):\n    return list({{'a' + str(x), 'b{k}'}})",
    "bit of a string's hash": "def f(x):\n    return hash('{N}' + str(x)) % 2",
}

BY_SEED = ("order of two strings in a set", "bit of a string's hash")


def count(name: str, tries: int, box: Sandbox, settings: AdmissionConfig) -> Counter[str]:
    """Reason of the rejection ("" for an admitted program) -> number of tries."""
    loop, rng = EventLoop(), random.Random(name)
    promises = []
    for number in range(tries):
        shape = "".join(rng.choices("ABCDEFGH", k=3)) + str(number)
        program = KINDS[name].format(N=f"N{shape}", k=rng.randint(10, 99))
        proposal = Proposal(TaskType.DEDUCTION, program, (str(rng.randint(100, 999)),))
        promises.append(loop.start(admit(proposal, box, settings, step=1)))
    while not all(promise.done() for promise in promises):
        loop.run()
    ends = [promise.result() for promise in promises]
    return Counter(end.reason if isinstance(end, Rejection) else "" for end in ends)


def upper_bound(seen: int, tries: int) -> float:
    """One-sided 95 % bound of a rate after `seen` in `tries` (Clopper and Pearson 1934); 0 of n gives about 3 / n."""
    from math import exp, lgamma, log

    def at_most(rate: float) -> float:
        terms = (
            lgamma(tries + 1) - lgamma(i + 1) - lgamma(tries - i + 1) + i * log(rate) + (tries - i) * log(1 - rate)
            for i in range(seen + 1)
        )
        return sum(map(exp, terms))

    low, high = 1e-12, 1 - 1e-12
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(middle) > 0.05 else (low, middle)
    return high


def table(found: dict[str, Counter[str]], minutes: float) -> str:
    """The page: a headline for what depends on addresses and was run, then every kind."""
    by_address = [each for name, each in found.items() if name not in BY_SEED and each.total() > each["forbidden"]]
    tries, admitted = sum(map(Counter.total, by_address)), sum(each[""] for each in by_address)
    rows = [
        f"| {name} | {each.total()} | {each['']} | {each['not_deterministic']} | "
        f"{', '.join(f'{why} {n}' for why, n in each.items() if why not in ('', 'not_deterministic')) or '–'} |"
        for name, each in found.items()
    ]
    return "\n".join([
        "# How often a program that depends on chance becomes a task", "",
        f"CPython {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} cores, {minutes:.0f} "
        "minutes beside other work.", "Made by `python benchmarks/unstable_bench.py`: the default settings of "
        "admission, every try another text.", "Each program has two results or a few, so that runs agree by accident.",
        "", f"**By address: {admitted} of {tries:,} tries were admitted, at most "
        f"{upper_bound(admitted, tries) * 1000:.2g} in 1,000 (one-sided 95 %).** Kinds that the policy list",
        "forbids were not run and do not count.", "",
        "| kind | tries | admitted | not deterministic | rejected for something else |",
        "| --- | ---: | ---: | ---: | --- |", *rows, "",
        "The order of strings follows the seed of their hashes: a program that names a set runs under thirteen.", "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kind", default="", help="only kinds with these words in their name")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    began, found = time.monotonic(), {}
    with Sandbox(workers=asked.workers) as box:
        for name in (name for name in KINDS if asked.kind in name):
            found[name] = count(name, asked.tries, box, AdmissionConfig())
            print(f"{name}: {dict(found[name])}, {time.monotonic() - began:.0f} s", flush=True)
    text = table(found, (time.monotonic() - began) / 60)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
