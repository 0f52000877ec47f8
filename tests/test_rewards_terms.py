"""The reward terms one by one, with numbers worked by hand."""

from __future__ import annotations

import difflib
import math
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minizero.config.reward import ProposeReward
from minizero.rewards import diversity, reward_proposal, terms, trees
from minizero.types import MissingPackage, Pair, ProposalOutcome, RewardError, Task, TaskType

COUNTS = {"int": {"1": 3, "2": 1}, "str": {"'a'": 2}}


def outcome(program: str = "def f(x):\n    return x * x", rate: float = 0.5, **more: object) -> ProposalOutcome:
    task = Task(TaskType.DEDUCTION, program, (Pair("3", "9"),))
    return ProposalOutcome(TaskType.DEDUCTION, "", True, "", task=task, solve_rate=rate, **more)  # type: ignore[arg-type]


def test_difficulty_peaks_at_its_target() -> None:
    assert [terms.difficulty(outcome(rate=p)) for p in (0, 0.25, 0.5, 0.75, 1)] == [0, 0.5, 1, 0.5, 0]
    # target 1/4: 0.125 / 0.25 = 0.5 on the left, (1 - 0.625) / 0.75 = 0.5 on the right
    assert [terms.difficulty(outcome(rate=p), target=0.25) for p in (0, 0.125, 0.25, 0.625, 1)] == [0, 0.5, 1, 0.5, 0]


def test_the_target_of_difficulty_comes_from_the_config() -> None:
    config = ProposeReward.model_validate(
        {"base": "difficulty", "terms": {"difficulty": {"weight": 1, "target": 0.25}}}
    )
    assert reward_proposal(outcome(rate=0.25), config).value == 1.0


@given(st.floats(0, 1), st.floats(0.01, 0.99))
def test_difficulty_stays_in_zero_to_one(rate: float, target: float) -> None:
    assert 0 <= terms.difficulty(outcome(rate=rate), target) <= 1


def test_complexity_counts_nesting_and_is_zero_for_straight_code() -> None:
    pytest.importorskip("complexipy", reason="pip install 'minizero[rewards]'")
    nested = "def f(x):\n    for i in x:\n        if i:\n            return i\n    return 0"  # for 1, nested if 2
    assert terms.complexity(outcome()) == 0.0
    assert terms.complexity(outcome(nested)) == pytest.approx(3 / 15)


def test_halstead_of_x_times_x() -> None:
    pytest.importorskip("radon", reason="pip install 'minizero[rewards]'")
    # One operator, one operand used twice: volume 3 log2(2) = 3, difficulty 1/2 x 2/1 = 1, effort 3, cyclomatic 1:
    # 0.5 x 0.0003 + 0.3 x 0.1 + 0.2 x 0.006 = 0.03135
    assert terms.halstead(outcome()) == 0.031


@pytest.mark.parametrize(("name", "package"), [("complexity", "complexipy"), ("halstead", "radon")])
def test_a_missing_package_names_the_pip_line(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    for module in (package, f"{package}.complexity", f"{package}.metrics"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage, match=r"make install EXTRAS=rewards"):
        reward_proposal(outcome(), ProposeReward.model_validate({"terms": {name: 0}}))


def test_edit_distance_is_zero_to_itself_and_without_examples() -> None:
    own = outcome().task
    assert own is not None
    assert terms.edit_distance(outcome()) == 0.0
    assert terms.edit_distance(outcome(examples=(own, own))) == 0.0


ORDINARY = """def f(words, limit):
    groups = {}
    for number, word in enumerate(words):
        key = len(word) % limit
        if key in groups and number > limit:
            groups[key] = [other for other in groups[key] if other != word] + [word[::-1]]
        else:
            groups.setdefault(key, []).append(word.upper())
    total = sum(len(group) * key for key, group in groups.items())
    return sorted(groups.items()), total % 7"""


def seconds_of(pair: ProposalOutcome) -> float:
    """Processor time of one measurement."""
    began = time.process_time()
    terms.edit_distance(pair)
    return time.process_time() - began


def _reference_s() -> float:
    """Seconds for a fixed amount of plain Python."""
    started = time.process_time()
    sum(i * i for i in range(100_000))
    return time.process_time() - started


@pytest.mark.full  # a time, taken once, with the suite whose load it was bounded for
def test_edit_distance_of_ordinary_programs_takes_milliseconds() -> None:
    other = ORDINARY.replace("sorted(groups.items())", "max(groups)").replace("% limit", "// limit")
    pair = outcome(ORDINARY, examples=(outcome(other).task,))
    assert 0 < terms.edit_distance(pair) < 0.2
    # On an idle core 4 ms, and the reference 5 ms: a busy or slower processor slows both.
    measured = [(seconds_of(pair), _reference_s()) for _ in range(20)]
    assert min(own for own, _ in measured) < 0.008 * max(1.0, min(other for _, other in measured) / 0.005)


@given(
    st.text("abc{}: \n", max_size=300) | st.text("ab", max_size=300), st.text("abc{}: \n", max_size=300) | st.text("ab")
)
def test_characters_are_compared_as_difflib_compares_them(a: str, b: str) -> None:
    for one, other in ((a, b), (a * 3 + b, b * 2 + a), (a + "xyz" + b, b + "zxy" + a)):
        found = trees.text_ratio(one, other)
        assert found is None or found == difflib.SequenceMatcher(None, one, other).ratio()


@pytest.mark.parametrize(
    "expression",
    [
        "not " * 900 + "x",
        "lambda: " * 550 + "x",
        "[" * 190 + "x" + "]" * 190,
        "+".join("x" * 1900),
        "[" + ", ".join(f"x{i % 100}" for i in range(600)) + "]",
    ],
    ids=["nots", "lambdas", "lists", "sum", "names"],
)
def test_edit_distance_of_hostile_programs_is_bounded(expression: str) -> None:
    program = f"def f(x):\n    return {expression}"
    pair = outcome(program, examples=(outcome(program.replace("x", "y")).task,))
    assert 0 <= terms.edit_distance(pair) <= 1
    assert min(seconds_of(pair) for _ in range(5)) < 0.05


@pytest.mark.parametrize("name", ["complexity", "halstead", "edit_distance", "novelty", "requested_length"])
@pytest.mark.parametrize(
    "expression", ["+".join("x" * 3000), "0x" + "f" * 20_000, "'\\ud800'"], ids=["nested", "long", "odd"]
)
def test_no_admitted_program_can_stop_a_run(name: str, expression: str) -> None:
    pytest.importorskip("complexipy", reason="pip install 'minizero[rewards]'")
    pytest.importorskip("radon", reason="pip install 'minizero[rewards]'")
    strange = outcome(f"def f(x):\n    return {expression}", known={"same_skeleton": 0}, requested_lines=1)
    strange = replace(strange, examples=(strange.task,))  # type: ignore[arg-type]
    reward = reward_proposal(strange, ProposeReward.model_validate({"terms": {name: 1}}))
    assert 0 <= reward.terms[name] < 5
    assert math.isfinite(reward.value)


def test_requested_length_falls_linearly() -> None:
    program = (
        "import math\n\ndef f(x):\n    '''Text.'''\n    # why\n    y = x + 1\n    if y:\n        y = 2\n    return y"
    )
    # four lines begin a statement: y, if, y, return
    assert [terms.requested_length(outcome(program, requested_lines=n)) for n in (4, 5, 2, 1)] == [1, 0.8, 0, 0]
    assert terms.requested_length(outcome(program)) == 1.0


def test_novelty_falls_with_the_square_root_of_the_count() -> None:
    assert [terms.novelty(outcome(known={"same_skeleton": n})) for n in (0, 3, 15)] == [1, 0.5, 0.25]


def test_a_count_that_the_buffer_did_not_give_is_an_error() -> None:
    with pytest.raises(RewardError, match="same_skeleton"):
        terms.novelty(outcome(known={}))


# Six values seen: the int 1 three times, the int 2 once, the str 'a' twice.
@pytest.mark.parametrize(
    ("text", "flat", "by_type"),
    [
        ("1", 1 - 3 / 6, (1 - 4 / 6 + 1 - 3 / 4) / 2),
        ("2", 1 - 1 / 6, (1 - 4 / 6 + 1 - 1 / 4) / 2),
        ("11", 1.0, (1 - 4 / 6 + 1) / 2),
        ("'a'", 1 - 2 / 6, (1 - 2 / 6 + 0) / 2),
        ("[1]", 1.0, 1.0),
    ],
)
def test_surprise_is_one_minus_the_share_seen(text: str, flat: float, by_type: float) -> None:
    assert diversity.Counts(COUNTS).surprise(text) == pytest.approx(flat)
    assert diversity.Counts(COUNTS).surprise_by_type(text) == pytest.approx(by_type)


@given(st.dictionaries(st.sampled_from("123"), st.integers(1, 5)), st.text(max_size=5))
def test_surprise_stays_in_zero_to_one(counts: dict[str, int], text: str) -> None:
    seen = diversity.Counts({"int": counts})
    for value in (seen.surprise(text), seen.surprise_by_type(text)):
        assert 0 <= value <= 1


# docs/algorithm.md 1, the rule of _input_type
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1, 2", "tuple"),
        ("'a, b'", "str"),
        ("-1 * 3", "str"),
        ("x=1", "str"),
        ("5", "int"),
        ("[1, 2]", "list"),
        ("", "str"),
    ],
)
def test_types_are_named_as_azr_names_them(text: str, name: str) -> None:
    assert diversity.type_name(text) == name


def test_programs_that_differ_in_names_and_constants_share_a_skeleton() -> None:
    a = diversity.skeleton("def f(x):\n    return x + 1")
    assert a == diversity.skeleton("def f(abc):\n    return abc + 99  # more")
    assert a != diversity.skeleton("def f(x):\n    return x - 1")
    assert a != diversity.skeleton("def f(x):\n    return x + 'one'")
    assert len(diversity.skeleton("def f(:")) == 16
