"""Where our parsers and verdicts differ from the official code on its own recorded vectors, each with the reason.

The tests read these tables: a vector that is not listed must agree; a row that agrees, or matches nothing, is stale and
fails. Labels and parser names are those of the vectors; a `*` stands for anything.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple


class Departure(NamedTuple):
    labels: tuple[str, ...]
    parser: str
    why: str

    def covers(self, label: str, parser: str) -> bool:
        return fnmatchcase(parser, self.parser) and any(fnmatchcase(label, pattern) for pattern in self.labels)


PARSERS = (
    Departure(
        ("input_block_first",),
        "gen_code_io_*",
        "The blocks may come in any order: AZR takes the first block for the program, whatever its label.",
    ),
    Departure(
        ("hash_input_inside_code",),
        "*_i*",
        "An input in a comment ends with its line when the rest is no argument list; AZR takes the code below it too.",
    ),
    Departure(
        ("py_language_tag", "python3_tag"),
        "gen_code_io_[!s]*",
        "```py and ```python3 open a program; AZR leaves 'py' or '3' as its first line, which then fails to run.",
    ),
    Departure(
        (
            *("good_code_input", "renamed_function_recursive", "two_python_blocks", "py_language_tag", "python3_tag"),
            *("nested_function", "class_without_method", "async_def_only", "with_imports", "comments_docstring_print"),
            *("input_string_with_backticks", "multiline_input", "think_answer_wrapped", "two_answers"),
            *("two_output_blocks", "induction_*"),
        ),
        "pred_code_f*",
        "The answer to induction is the last program block; AZR takes the last block of any label.",
    ),
    Departure(
        (
            *("think_answer_wrapped", "two_answers", "missing_think_close", "text_between_think_and_answer"),
            *("leading_space_before_think", "two_output_blocks", "hash_output_multiline", "output_call"),
            *("xml_output_tag_unclosed", "sentence_input_is", "code_f_answer_two_blocks", "code_f_no_block"),
        ),
        "pred_code_[io](on raw text)",
        "What stands in <think> is reasoning, also where it is not closed, and no part of an answer.",
    ),
    Departure(("input_call_nested_parens",), "pred_code_o(on raw text)", "As above: what is left has no <think> part."),
    Departure(("missing_think_close",), "pred_code_[io](on extract_answer)", "As above: nothing is left."),
    Departure(
        ("input_call_nested_parens",),
        "pred_code_i*",
        "`input((1, 2), 3)` is read up to its own closing parenthesis; AZR stops at the first.",
    ),
    Departure(
        ("plain_fence_answer",),
        "pred_code_[io]*",
        "An answer in a block without a label is the block's content; AZR keeps the fences, which never is a value.",
    ),
    Departure(
        ("induction_input_i_label",),
        "gen_code_f_inputs_message*",
        "```input_3 is an input block; AZR reads '_3' as the value's first line.",
    ),
    Departure(("induction_input_i_label",), "pred_code_i*", "As above, for an answer."),
)

# What a whole response answers, label: why otherwise here.
EXTRACTION = {
    "missing_think_close": "Reasoning that never ends has no answer; AZR rewards it as malformed all the same."
}

# label: (score here, why). None stands for a task that cannot exist here.
VERDICTS: dict[str, tuple[float | None, str]] = {
    "deduction/walrus_prediction": (0.0, "An answer is a value, or arithmetic on constants: no text is evaluated."),
    "deduction/str_content_eval_hack": (0.0, "AZR evaluates the content of the strings, so '2' equals '1+1'."),
    "deduction/driver_self_reachable": (0.0, "AZR evaluates the answer inside its trainer."),
    "deduction/nan": (1.0, "nan equals nan, so that a task with this output can be solved."),
    "deduction/inf": (1.0, "inf is a value."),
    "deduction/numpy_scalar_np_is_in_driver_namespace": (None, "A numpy scalar is no value."),
    "abduction/star_tuple": (0.0, "An input is a list of values, without unpacking."),
    "abduction/walrus": (0.0, "An input is a list of values, not of expressions."),
    "abduction/multiline_input": (1.0, "A value may span lines; AZR evaluates the last line alone."),
    "abduction/injection_close_paren": (0.0, "The input is parsed, not pasted into a call."),
    "abduction/always_equal_object": (0.0, "An input is made of values, which are compared outside of the program."),
    "abduction/gold_nan": (1.0, "nan equals nan."),
    "abduction/gold_empty(nondeterministic)": (None, "A program that is not deterministic makes no task."),
    "abduction/gold_numpy_scalar": (None, "A numpy scalar is no value."),
}

# rewards_end_to_end.json, label: why the format is judged otherwise here.
FORMATS = {
    "response_contains_Assistant_colon": "A completion is kept apart from its prompt, not split off at 'Assistant:'.",
}

# Error tasks and composite functions: no vectors were recorded, so these rows come from reading the official code.
# program (called with 3): (what AZR takes for the answer, what happens here, why).
ERROR_TASKS: dict[str, tuple[str, str, str]] = {
    "def f(x):\n    raise [KeyError, ValueError][list({str(i) for i in range(9)})[0] > '4']": (
        "the first run's exception",
        "not_deterministic",
        "AZR rejects only where status and output both differ, and both runs that raise have no output.",
    ),
    "def f(x):\n    while True:\n        pass": ("Timeout Error", "timeout", "Its time limit counts as an exception."),
    "def f(x):\n    return lambda: x": ("NoError", "no_value", "What is no value cannot be compared between two runs."),
    "def f(x):\n    raise ValueError('a\\nb: c')": ("b", "ValueError", "AZR reads the last line of the traceback."),
    "import numpy\ndef f(x):\n    return numpy.random.rand()": ("NoError", "forbidden", "As for the other types."),
}
# what a proposal may do with the functions it was given: (AZR accepts, minizero accepts, why).
COMPOSITES: dict[str, tuple[bool, bool, str]] = {
    "def f(x):\n    return g_0(len([x]))": (False, True, "AZR wants every name in an argument assigned in f."),
    "def f(xs):\n    for y in [xs]:\n        z = g_0(y)\n    return z": (False, True, "So loop variables fail there."),
    "def h(x):\n    return g_0(x)\ndef f(x):\n    return h(x)": (False, True, "A call in a helper is a call."),
    "def f(x):\n    g_0 = abs\n    return g_0(x)": (True, False, "A name that is bound anew is not what was given."),
    "def f(x):\n    return g_0(x)": (True, True, "The plain case."),
    "def g_0(x):\n    return x\ndef f(x):\n    return g_0(x)": (False, False, "No redefinition."),
    "def f(x):\n    return x": (False, False, "Every function has to be called."),
}
