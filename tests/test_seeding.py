"""A model writes its own seed tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minizero.config import load_config
from minizero.rollout.scripted import ScriptedSampler
from minizero.selfplay.seeding import azr_row, grow_seeds
from minizero.selfplay.seeds import read_seeds
from minizero.types import USUAL_TYPES, Quiet, SeedsError
from sandbox import Sandbox
from tests.test_selfplay import clever

CONFIG = load_config(overrides=["selfplay.proposals=3", "prompt.induction_inputs=4", "prompt.induction_shown=2"])


def test_seeding_grows_every_type_from_the_zero_triplet(box: Sandbox, tmp_path: Path) -> None:
    found = grow_seeds(CONFIG, 2, sampler=ScriptedSampler(clever), box=box, style="chat", progress=Quiet())
    assert [sum(t.type is kind for t in found) for kind in USUAL_TYPES] == [2, 2, 2]
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps(azr_row(task)) + "\n" for task in found))
    again, left_out = read_seeds(path, 100)
    assert left_out == 0
    assert [(t.type, t.program, t.pairs) for t in again] == [(t.type, t.program, t.pairs) for t in found]


def test_a_model_that_proposes_nothing_is_told(box: Sandbox) -> None:
    with pytest.raises(SeedsError, match="gave no valid task"):
        grow_seeds(CONFIG, 2, sampler=ScriptedSampler(lambda r, i: "no"), box=box, style="chat", progress=Quiet())
