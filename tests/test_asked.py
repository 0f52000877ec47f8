"""How often held-out tasks were asked: counted over the runs of a folder, and said where results are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from minizero.ablate.compare import compare
from minizero.report.ablation_words import in_words
from minizero.report.asked import Asked, asked_so_far
from minizero.report.run_page import write_report
from minizero.selfplay.run_data import read_run
from tests.made_run import make_run
from tests.test_ablate import a_summary


def test_every_validation_of_every_run_on_the_same_tasks_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", tasks=40, validate_at=[0, 3, 6]).path
    make_run(tmp_path / "two", tasks=40, validate_at=[0, 6])
    make_run(tmp_path / "others", tasks=41)  # other tasks
    make_run(tmp_path / "none", tasks=40, validate_at=[], settings={"eval": {"tasks": "none"}})
    (tmp_path / "a-file").write_text("")
    assert asked_so_far(read_run(run)) == Asked(40, 3, 2, 5)
    assert asked_so_far(read_run(tmp_path / "none")) is None


def test_a_damaged_neighbour_is_not_counted_and_stops_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", tasks=40).path
    other = make_run(tmp_path / "two", tasks=40).path
    (other / "eval" / "step-000000.json").write_text("{")
    assert asked_so_far(read_run(run)) == Asked(40, 2, 1, 2)


def test_the_words_state_the_numbers() -> None:
    assert Asked(300, 9, 7, 64).words.startswith(
        "These 300 tasks were asked 9 times in this run and 64 times by the 7 runs in its folder, this one among them."
    )
    assert Asked(300, 2, 1, 2).words.startswith("These 300 tasks were asked twice in this run. Whatever was chosen")


def test_a_report_says_how_often_its_tasks_were_asked(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", tasks=40).path
    make_run(tmp_path / "two", tasks=40)
    assert "These 40 tasks were asked twice in this run and 4 times by the 2 runs" in write_report(run).read_text()


@pytest.mark.parametrize(("looks", "said"), [(9, "18 times by 2 runs"), (2, "4 times by 2 runs")])
def test_a_table_of_ablations_says_how_often_its_tasks_were_asked(looks: int, said: str) -> None:
    runs = [replace(a_summary(name, 0, digits), validations=looks) for name, digits in
            (("default", "1111"), ("mine", "2222"))]  # fmt: skip
    text = in_words(compare(runs)).sentences[-1]
    assert text.startswith(f"These 4 tasks were asked {said}, to compare 1 variant with the default")
    alone = in_words(compare([a_summary("default", 0, "1111")])).sentences
    assert not any("were asked" in sentence for sentence in alone)
