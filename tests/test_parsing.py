"""Completions become proposals and answers, or a reason; the official parsers' recorded results are reproduced."""

from __future__ import annotations

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizero.config.tasks import AdmissionConfig
from minizero.tasks.parsing import REASONS, answer_part, clean_arguments, format_ok, parse_answer, parse_proposal
from minizero.tasks.programs import imports_of, literal, parse, program_key
from minizero.types import Answer, ParseError, Proposal, Role, TaskType
from tests.azr_departures import EXTRACTION, FORMATS, PARSERS
from tests.azr_vectors import azr_records

DEDUCTION, ABDUCTION, INDUCTION = TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION
SETTINGS = AdmissionConfig()
AZR = AdmissionConfig(several_functions=False, entry="first", input_from_call=False, min_inputs=10)
AZR_PROPOSALS = {
    "gen_code_io_default(on raw text)": AZR,
    "gen_code_io_default(on extract_answer)": AZR,
    "gen_code_io_multi_fn_any_last(on raw text)": AdmissionConfig(input_from_call=False),
    "gen_code_io_seeding_flags(remove_comments,remove_after_return; on raw text)": AdmissionConfig(
        several_functions=False, entry="first", input_from_call=False, remove_comments=True, remove_after_return=True
    ),
    "gen_code_io_remove_print(on raw text)": AdmissionConfig(
        several_functions=False, entry="first", input_from_call=False, remove_print=True
    ),
}


def propose(text: str, rules: AdmissionConfig = SETTINGS) -> Proposal | ParseError:
    return parse_proposal(DEDUCTION, text, style="chat", settings=rules)


def ours_and_official(text: str, parser: str, official: object) -> tuple[object, object]:
    """Both in one shape: an answer's text, a proposal's program key and input, or inputs and message; None: failed."""
    style = "r1" if "extract_answer" in parser else "chat"
    if parser.startswith("pred_code_"):
        task_type = {"i": ABDUCTION, "o": DEDUCTION, "f": INDUCTION}[parser[10]]
        answer = parse_answer(task_type, text, style=style)
        official_text = official if isinstance(official, str) else official[1] if official[0] else ""
        return answer.text if isinstance(answer, Answer) else "", official_text.strip()
    result = official.get("result")
    if "inputs_message" in parser:
        proposal = parse_proposal(INDUCTION, text, style=style, settings=AZR, program="def f(a):\n    return a")
        ours = (list(proposal.inputs), proposal.message) if isinstance(proposal, Proposal) else None
        return ours, (result["inputs"], result["message"]) if result else None
    proposal = parse_proposal(DEDUCTION, text, style=style, settings=AZR_PROPOSALS[parser])
    ours = (program_key(proposal.program), proposal.inputs[0]) if isinstance(proposal, Proposal) else None
    if ours is not None and result:
        assert imports_of(proposal.program) == result["imports"]
    return ours, (program_key(result["code"]), result["input"]) if result else None


def test_official_parser_vectors_are_reproduced_but_for_the_listed_departures() -> None:
    needed = set()
    for record in azr_records("parsers.json"):
        label, text = record["label"], record["input"]
        for parser, official in record["output"].items():
            # code_location_last is not offered: with the input block last, as the prompts ask, it always fails.
            if not parser.startswith(("gen_code", "pred_code")) or "code_location_last" in parser:
                continue
            ours, theirs = ours_and_official(text, parser, official)
            row = next((row for row in PARSERS if row.covers(label, parser)), None)
            if ours != theirs:
                assert row is not None, f"{label}, {parser}: {ours!r}, official {theirs!r}, and no departure is listed"
                needed |= {(row, pattern) for pattern in row.labels if fnmatchcase(label, pattern)}
    stale = [(row.parser, pattern) for row in PARSERS for pattern in row.labels if (row, pattern) not in needed]
    assert not stale, f"rows of azr_departures.PARSERS that no vector needs: {stale}"


def test_official_answer_extraction_and_format_check_are_reproduced() -> None:
    for record in azr_records("parsers.json"):
        text, official = record["input"], record["output"]
        assert (answer_part(text, "r1") == official["extract_answer"]) is (record["label"] not in EXTRACTION)
        assert format_ok(Role.SOLVE, DEDUCTION, text, style="r1") == bool(official["format_reward"]), record["label"]


def test_official_format_scores_end_to_end_are_reproduced_but_for_the_listed_departures() -> None:
    differing = set()
    for record in azr_records("rewards_end_to_end.json"):
        given_, name = record["input"], record["label"].rpartition("/")[2]
        is_error_type = given_["problem_type"].endswith("_e")  # waits for an issue of its own
        is_invalid = given_["role"] != "solver" and record["output"]["format_score"] == [0.0]  # says more than the form
        if is_error_type or is_invalid:
            continue
        text = "<think>" + given_["response_after_<think>"]
        task_type = {"i": ABDUCTION, "o": DEDUCTION, "f": INDUCTION}[given_["problem_type"][-1]]
        kept = format_ok(Role.SOLVE, task_type, text, style="r1")
        if given_["role"] == "solver" and task_type is INDUCTION:
            kept = kept and isinstance(parse_answer(INDUCTION, text, style="r1"), Answer)
        if [float(kept)] != record["output"]["format_score"]:
            assert name in FORMATS, record["label"]
            differing.add(name)
    assert differing == set(FORMATS)


def test_a_program_and_its_input_are_read_in_any_order() -> None:
    expected = Proposal(DEDUCTION, "def f(x):\n    return x + 1", ("5",))
    assert propose("```python\ndef f(x):\n    return x + 1\n```\n```input\n5\n```") == expected
    assert propose("```input\n5\n```\n```python\ndef f(x):\n    return x + 1\n```") == expected


def test_an_entry_of_another_name_is_renamed_wherever_its_name_stands() -> None:
    found = propose("```python\ndef fact(n):\n    return n and n * fact(n - 1)  # fact\n```\n```input\n5\n```")
    assert isinstance(found, Proposal)
    assert found.program == "def f(n):\n    return n and n * f(n - 1)  # fact"


def test_the_last_function_is_the_entry_when_none_is_called_f() -> None:
    text = "```python\ndef twice(x):\n    return 2 * x\ndef main(x):\n    return twice(x)\n```\n```input\n5\n```"
    found = propose(text)
    assert isinstance(found, Proposal)
    assert found.program == "def twice(x):\n    return 2 * x\ndef f(x):\n    return twice(x)"


def test_an_attribute_with_the_entrys_name_keeps_it() -> None:
    found = propose("```python\ndef sort(xs):\n    xs.sort()\n    return xs\n```\n```input\n[2, 1]\n```")
    assert isinstance(found, Proposal)
    assert found.program == "def f(xs):\n    xs.sort()\n    return xs"


@pytest.mark.parametrize("body", ["f = 1\n    return g and f", "global g\n    return g", "return f'{g} é'"])
def test_where_renaming_is_guesswork_f_becomes_a_second_name(body: str) -> None:
    found = propose(f"```python\ndef g():\n    {body}\n```\n```input\n\n```")
    assert isinstance(found, Proposal)
    assert found.program in (f"def g():\n    {body}\nf = g", f"def f():\n    {body.replace('{g}', '{f}')}")


def test_a_call_under_the_function_is_the_input_when_there_is_no_block() -> None:
    text = "```python\ndef f(a, b=2):\n    return a * b\n\nprint(f([1,\n 2], b=3))\n```"
    assert propose(text) == Proposal(DEDUCTION, "def f(a, b=2):\n    return a * b", ("[1,\n 2], b=3",))
    assert propose(text, AdmissionConfig(input_from_call=False)) == ParseError("no_input")


def test_a_program_that_is_complete_with_its_call_needs_no_closing_fence() -> None:
    text = "```python\ndef f(a):\n    return a\n\nf(1)"
    assert propose(text) == Proposal(DEDUCTION, "def f(a):\n    return a", ("1",))
    assert not format_ok(Role.PROPOSE, DEDUCTION, text, style="chat")


def test_helpers_are_allowed_unless_the_setting_says_otherwise() -> None:
    text = "```python\ndef g(x):\n    return x\ndef f(x):\n    return g(x)\n```\n```input\n1\n```"
    assert isinstance(propose(text), Proposal)
    assert propose(text, AdmissionConfig(several_functions=False)) == ParseError("several_functions")


def test_a_program_that_tests_itself_can_be_rejected() -> None:
    text = "```python\ndef f(x):\n    return x\nassert f(1) == 1\n```\n```input\n1\n```"
    assert propose(text, AdmissionConfig(reject_input_in_program=True)) == ParseError("input_in_program")
    assert isinstance(propose(text), Proposal)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_answer"),
        ("I would write a function", "no_program"),
        ("```python\ndef f(x):\n    return x", "no_program"),
        ("```python\nx = 1\n```\n```input\n1\n```", "no_function"),
        ("```python\ndef f(x):\n    return x\n```", "no_input"),
        ("```python\ndef f(x)\n    return x\n\nf(3)\n```", "syntax"),
    ],
)
def test_what_is_missing_is_named(text: str, reason: str) -> None:
    assert propose(text) == ParseError(reason)
    assert reason in REASONS


def test_inputs_of_induction_stand_in_blocks_of_their_own_or_on_lines_of_one() -> None:
    program = "def f(x):\n    return x"
    expected = Proposal(INDUCTION, program, ("1, [2]", "3, []"), "add them")
    blocks = "```input\n1, [2]\n```\n```input\n3, []\n```\n```message\nadd them\n```"
    lines = "```input\n1, [2]\nf(3, [])\n```\n```message\nadd them\n```"
    numbered = "```input\n1. 1, [2]\n2. 3, []\n```\n```message\nadd them\n```"
    unreadable = "```input\n1. 1, [2]\n2.[x for x in y]\n3.[3]\n```\n```message\nadd them\n```"
    found = parse_proposal(INDUCTION, unreadable, style="chat", settings=SETTINGS, program=program, inputs=2)
    assert found == Proposal(INDUCTION, program, ("1, [2]", "[3]"), "add them")
    for text in (blocks, lines, numbered):
        found = parse_proposal(INDUCTION, text, style="chat", settings=SETTINGS, program=program, inputs=2)
        assert found == expected


def test_an_induction_proposal_without_a_given_program_brings_its_own() -> None:
    text = "```python\ndef f(x):\n    return x\n```\n```input\n1\n2\n```\n```message\nm\n```"
    found = parse_proposal(INDUCTION, text, style="compact", settings=SETTINGS, inputs=2)
    assert found == Proposal(INDUCTION, "def f(x):\n    return x", ("1", "2"), "m")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" 1, 'a' ", "1, 'a'"),
        ("f(1, 'a')", "1, 'a'"),
        ("print(f(1, 'a'))", "print(f(1, 'a'))"),
        ("x = [1, 2]\ny = 3", "x = [1, 2], y = 3"),
        ("[1,\n 2]", "[1,\n 2]"),
        ("1\n2,\n", "1, 2"),
        ("1) or (9 == 9", "1) or (9 == 9"),
        ("", ""),
    ],
)
def test_argument_text_is_read_as_it_was_meant(written: str, meant: str) -> None:
    assert clean_arguments(written) == meant


def test_the_last_output_block_is_the_answer() -> None:
    text = "It could be\n```output\n1\n```\nbut no:\n```output\n2\n```"
    assert parse_answer(DEDUCTION, text, style="chat") == Answer(DEDUCTION, "2")


def test_an_answer_cut_off_in_its_block_is_still_read_but_its_form_is_not_kept() -> None:
    text = "```output\n[1, 2]"
    assert parse_answer(DEDUCTION, text, style="chat") == Answer(DEDUCTION, "[1, 2]")
    assert not format_ok(Role.SOLVE, DEDUCTION, text, style="chat")


@pytest.mark.parametrize(
    ("role", "task_type", "text"),
    [
        (Role.SOLVE, DEDUCTION, "so\n```output\n1\n```"),
        (Role.SOLVE, ABDUCTION, "```input\n1\n```"),
        (Role.SOLVE, INDUCTION, "```python\ndef f(): pass\n```"),
        (Role.PROPOSE, DEDUCTION, "```python\ndef f(): pass\n```\n```input\n\n```"),
        (Role.PROPOSE, INDUCTION, "```input\n1\n2\n```\n```message\nm\n```"),
    ],
)
def test_the_form_is_kept_when_every_needed_block_is_closed(role: Role, task_type: TaskType, text: str) -> None:
    assert format_ok(role, task_type, text, style="chat")
    assert not format_ok(role, task_type, text[:-3], style="chat")


WORDS = st.sampled_from(
    [
        *("```", "```python\n", "```input", "```output\n", "\n", "def f(x):\n", "    return x", "f(", ")", "'", "("),
        *("<answer>", "</answer>", "<think>", "the output is", "message", "import a", "class A:", "# Input:", "x = 1"),
        *("\0", "\ud800", "\r", "é", "1", "f(x)"),
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(WORDS | st.text(max_size=5), max_size=40).map("".join), st.sampled_from(list(TaskType)))
def test_parsers_never_raise_whatever_the_text(text: str, task_type: TaskType) -> None:
    everything = AdmissionConfig(
        remove_comments=True, remove_after_return=True, remove_print=True, reject_input_in_program=True
    )
    for style in ("r1", "chat", "compact"):
        for rules in (SETTINGS, AZR, everything):
            found = parse_proposal(task_type, text, style=style, settings=rules, inputs=2)
            assert isinstance(found, Proposal) or found.reason in REASONS
        answer = parse_answer(task_type, text, style=style)
        assert isinstance(answer, Answer) or answer.reason in REASONS
        for role in Role:
            format_ok(role, task_type, text, style=style)


@pytest.mark.parametrize(
    "text",
    [
        "```python def f(x): return x``` and ```input 5```",
        "```python def f(x): return x```\n```input\n5\n```",
        "```python def f(x):\n    return x\n```\n```input 5```",
        "```py def f(x): return x\n\nf(5)```",
    ],
)
def test_a_block_may_begin_on_the_line_of_its_fence(text: str) -> None:
    found = propose(text)
    assert isinstance(found, Proposal)
    assert (program_key(found.program), found.inputs) == (program_key("def f(x):\n    return x"), ("5",))
    assert format_ok(Role.PROPOSE, DEDUCTION, text, style="chat")


def test_prose_that_speaks_of_a_block_is_no_program() -> None:
    assert propose("I put it into a ```python block```, with an ```input 5```.") == ParseError("no_program")


DRAFT = "<think>Say\n```python\ndef f(x):\n    return 0\n```\n```input\n1\n```\n```output\n1\n```\n"
FINAL = "```python\ndef f(x):\n    return x\n```\n```input\n2\n```"


def test_a_draft_inside_the_reasoning_is_no_proposal_and_no_answer() -> None:
    assert propose(f"{DRAFT}</think>{FINAL}") == Proposal(DEDUCTION, "def f(x):\n    return x", ("2",))
    assert parse_answer(DEDUCTION, f"{DRAFT}</think> so\n```output\n2\n```", style="chat") == Answer(DEDUCTION, "2")
    assert parse_answer(INDUCTION, f"{DRAFT}</think> nothing", style="chat") == ParseError("no_program")
    assert parse_answer(DEDUCTION, "<think><answer>1</answer></think> hm", style="r1") == ParseError("no_answer")


def test_reasoning_that_the_prompt_has_opened_ends_at_its_closing_tag() -> None:
    assert propose(f"{DRAFT.removeprefix('<think>')}</think>\n{FINAL}") == propose(FINAL)


@pytest.mark.parametrize("style", ["chat", "r1"])
def test_reasoning_that_never_ends_has_no_answer_and_no_form(style: str) -> None:
    text = f"{DRAFT}<answer>1</answer>"
    assert parse_proposal(DEDUCTION, text, style=style, settings=SETTINGS) == ParseError("no_answer")
    assert parse_answer(DEDUCTION, text, style=style) == ParseError("no_answer")
    assert not format_ok(Role.SOLVE, DEDUCTION, text, style=style)
    assert not format_ok(Role.PROPOSE, DEDUCTION, text, style=style)


def test_lines_that_end_as_on_windows_keep_the_form() -> None:
    text = "```output\r\n1\r\n```\r\n"
    assert parse_answer(DEDUCTION, text, style="chat") == Answer(DEDUCTION, "1")
    assert format_ok(Role.SOLVE, DEDUCTION, text, style="chat")
    program = "```python\r\ndef f(x):\r\n    return x\r\n```\r\n```input\r\n2\r\n```"
    assert propose(program) == propose(FINAL)
    assert format_ok(Role.PROPOSE, DEDUCTION, program, style="chat")


def test_threads_may_parse_at_the_same_time() -> None:
    """Python 3.11.7's own parser fails here within a second: threads share its count of a tree's depth, and a finalizer
    that garbage collection runs lets another thread go on."""

    class Garbage:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            pass

    program = "def f(x):\n" + "    x = x[1:] if len(x) > 2 else x * 2\n" * 60 + "    return x\n"

    def parsed_under(calls: int) -> int:  # the count begins at the depth of the calls
        if calls:
            return parsed_under(calls - 1)
        return sum(isinstance(Garbage(), Garbage) and parse(program) is not None for _ in range(300))

    before, filters = sys.getswitchinterval(), list(warnings.filters)
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(max_workers=4) as threads:
            assert list(threads.map(parsed_under, [0, 3, 5, 9])) == [300] * 4
    finally:
        sys.setswitchinterval(before)
    assert warnings.filters == filters
    assert literal(" [1, [2, (3, 'a')]]") == [1, [2, (3, "a")]]
