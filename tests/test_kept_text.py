"""A function given from Python is kept as text with what it uses; what cannot be kept says so, and what to do."""

from __future__ import annotations

import functools
import linecache
import math
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest

from minizero.rewards import plugins
from minizero.rewards.kept_text import GIVEN, kept_text
from minizero.types import RewardError

if TYPE_CHECKING:
    from minizero.types import ProposalOutcome

LIMIT = 200
WEIGHTS = {"short": 0.5, "long": [1, 2.5]}
WORD = re.compile(r"de+f", re.IGNORECASE)
LOCK = threading.Lock()
hidden = 1.0


class Scale:
    """A class that a function uses."""

    by = LIMIT

    def of(self, value: float) -> float:
        return fmean([value / self.by, WEIGHTS["short"]])


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


@functools.cache
def square(x: float) -> float:
    return math.pow(x, 2)


def uses_much(outcome: ProposalOutcome, power: int = LIMIT) -> float:
    """Constants, a class, functions that call each other, a decorated one, defaults, a local name like a global's."""
    hidden = 3.0
    found = WORD.search("a DEEF") is not None
    return Scale().of(100) + even(4) + square(hidden) + power + found + sum(hidden for hidden in [1.0])


def uses_a_lock(outcome: ProposalOutcome) -> float:
    with LOCK:
        return 1.0


def uses_hidden() -> float:
    return hidden


def loaded(function: Callable[..., Any]) -> Any:
    """The function as its kept text defines it, with nothing around."""
    names: dict[str, Any] = {}
    exec(compile(kept_text(function), "kept", "exec"), names)
    return names[function.__name__]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    plugins.look_in(None)
    plugins._REGISTERED.clear()


def test_a_function_is_kept_with_everything_that_it_names() -> None:
    assert loaded(uses_much)(None) == uses_much(None) == 0.5 + 1 + 9 + 200 + 1 + 1  # type: ignore[arg-type]


def test_the_text_is_the_functions_own_after_its_imports_and_values() -> None:
    def short(outcome: ProposalOutcome) -> float:
        return math.sqrt(LIMIT)

    assert kept_text(short) == (
        f"{GIVEN}\nfrom __future__ import annotations\nimport math\nLIMIT = 200\n\n\n"
        "def short(outcome: ProposalOutcome) -> float:\n    return math.sqrt(LIMIT)\n"
    )


def test_a_closure_is_kept_with_the_values_that_it_closes_over() -> None:
    def scaled(by: float) -> Callable[[Any], float]:
        def term(outcome: Any) -> float:
            return by * LIMIT

        return term

    assert [loaded(scaled(by))(None) for by in (0.5, 2.0)] == [100.0, 400.0]


def test_a_decorated_function_stays_decorated() -> None:
    assert "@functools.cache\ndef square" in kept_text(square)
    assert loaded(square)(3) == 9


def test_what_is_no_text_raises_when_it_is_loaded_and_says_what_to_do() -> None:
    with pytest.raises(RuntimeError) as caught:
        loaded(uses_a_lock)
    assert str(caught.value) == (
        "uses_a_lock was given from Python and cannot be loaded from text: it uses LOCK (lock). "
        "Continue from Python with  minizero.resume(run, functions=[uses_a_lock])"
    )


def test_so_does_code_that_was_typed_in() -> None:
    names: dict[str, Any] = {}
    exec("def typed(outcome):\n    return 1.0", names)
    with pytest.raises(RuntimeError, match=r"its own text is not to be had\. Continue from Python"):
        loaded(names["typed"])


def test_the_text_of_other_code_without_a_file_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python 3.13 remembers what python -c was given under the same name, "<string>".
    monkeypatch.setitem(linecache.cache, "<string>", (15, None, ["import sys;print(1)\n"], "<string>"))
    names: dict[str, Any] = {}
    exec("def typed(outcome):\n    return 1.0", names)
    with pytest.raises(RuntimeError, match="its own text is not to be had"):
        loaded(names["typed"])


def test_one_name_for_two_things_is_not_kept_as_one() -> None:
    def make(hidden: float) -> Callable[[Any], float]:
        def term(outcome: Any) -> float:
            return hidden + uses_hidden()

        return term

    assert make(5.0)(None) == 6.0
    with pytest.raises(RuntimeError, match="it uses two things called hidden"):
        loaded(make(5.0))


def test_an_empty_list_is_kept_and_a_long_one_is_not() -> None:
    few: list[int] = []
    many = list(range(10_000))

    def counted(outcome: Any) -> float:
        return float(len(few))

    def weighed(outcome: Any) -> float:
        return float(len(many))

    assert loaded(counted)(None) == 0.0
    with pytest.raises(RuntimeError, match=r"it uses many \(list\)"):
        loaded(weighed)


# -- a run directory's functions --------------------------------------------------------------------------------------


def term(outcome: Any) -> float:
    return 1.0


def test_a_run_directory_goes_before_a_file_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "term.py").write_text(kept_text(term))
    (tmp_path / "term.py").write_text("def term(outcome):\n    return 2.0\n")
    monkeypatch.chdir(tmp_path)
    assert plugins.load_function("term.py:term")(None) == 2.0
    plugins.look_in(tmp_path / "run")
    assert plugins.load_function("term.py:term")(None) == 1.0
    plugins.look_in(None)
    assert plugins.load_function("term.py:term")(None) == 2.0


def test_a_file_is_read_where_it_is_while_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.py").write_text("def f(outcome):\n    return 1.0\n")
    (tmp_path / "mine.py").write_text("def f(outcome):\n    return 2.0\n")
    monkeypatch.chdir(tmp_path)
    plugins.look_in(tmp_path / "run")
    assert plugins.load_function("mine.py:f")(None) == 2.0
    (tmp_path / "mine.py").unlink()
    plugins.look_in(tmp_path / "run")
    assert plugins.load_function("mine.py:f")(None) == 1.0


def test_a_file_that_was_changed_between_two_runs_is_read_again(tmp_path: Path) -> None:
    name = f"{tmp_path / 'mine.py'}:f"
    for value in (1.0, 2.0):
        (tmp_path / "mine.py").write_text(f"def f(outcome):\n    return {value}\n")
        plugins.look_in(None)
        assert plugins.load_function(name)(None) == value


def test_a_function_that_was_written_anew_since_is_not_taken_for_the_runs_own(tmp_path: Path) -> None:
    def written(value: float) -> Callable[[Any], float]:
        def term(outcome: Any) -> float:
            return value

        return term

    name = plugins.register(written(1.0))
    (tmp_path / "term.py").write_text(plugins.source_of(name)[1])
    assert plugins.register(written(2.0)) == name == "term.py:term"
    assert plugins.load_function(name)(None) == 2.0
    plugins.look_in(tmp_path)
    assert plugins.load_function(name)(None) == 1.0


def test_a_kept_text_that_is_not_enough_is_a_reward_error(tmp_path: Path) -> None:
    (tmp_path / "uses_a_lock.py").write_text(kept_text(uses_a_lock))
    plugins.look_in(tmp_path)
    with pytest.raises(RewardError, match=r"Continue from Python with  minizero\.resume\(run, functions="):
        plugins.load_function("uses_a_lock.py:uses_a_lock")
