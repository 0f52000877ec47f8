"""Words that errors are made of; how numbers and model text are shown is tested with the pages that show them."""

from __future__ import annotations

import pytest

from minizero.formatting import did_you_mean, why


@pytest.mark.parametrize(
    ("name", "cutoff", "words"),
    [
        ("humanevla", 0.6, " Did you mean humaneval?"),
        ("humaneval", 0.6, " Did you mean humaneval?"),
        ("mbqq", 0.6, ""),  # half of its letters are right
        ("mbqq", 0.5, " Did you mean mbpp?"),
        ("", 0.6, ""),
    ],
)
def test_the_nearest_name_is_asked_for_where_it_is_near_enough(name: str, cutoff: float, words: str) -> None:
    assert did_you_mean(name, ("humaneval", "mbpp"), cutoff) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "a/path.json"), "No such file or directory"),
        (OSError("a bare one"), "a bare one"),
        (KeyError("step"), "'step' is missing"),
        (UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "invalid start byte"), "byte 1 is not UTF-8"),
        (ValueError(" two\nlines"), "two"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_an_error_in_a_few_words_names_no_path(error: Exception, words: str) -> None:
    assert why(error) == words
