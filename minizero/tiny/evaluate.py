"""Measure the tiny model and write its model card: `python -m minizero.tiny.evaluate [DIR] [--card]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch
from transformers import AutoTokenizer, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from minizero.prompts.compact import Think
from minizero.tasks.programs import program_key
from minizero.tiny import sets
from minizero.tiny.card import model_card, propose_table, solve_table
from minizero.tiny.measure import propose_tasks, solve_tasks
from sandbox import Sandbox

SAMPLES = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measurements; with --card also write them to DIR/README.md (DIR needs train.py's training.json)."""
    parser = argparse.ArgumentParser(description="Measure the built-in tiny model. Minutes on one core.")
    parser.add_argument("directory", type=Path, nargs="?", default=sets.DIRECTORY)
    parser.add_argument("--set", choices=["heldout", "validation"], default="heldout", dest="name")
    parser.add_argument("--tasks", type=int, help="only the first so many tasks of the set (the types come in turn)")
    parser.add_argument("--proposals", type=int, default=200, help="of each type")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--card", action="store_true", help="write DIR/README.md")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    start = time.monotonic()
    model = Qwen2ForCausalLM.from_pretrained(options.directory, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(options.directory)
    seeds = sets.load("seeds")
    with Sandbox(workers=2) as box:
        tasks = sets.load(options.name)[: options.tasks]
        solved = {
            think: solve_tasks(model, tokenizer, tasks, box, samples=SAMPLES, seed=0, think=think)
            for think in get_args(Think)
        }
        proposed = propose_tasks(model, tokenizer, seeds, box, each=options.proposals, seed=0)
    known = {program_key(task.program) for task in seeds}
    scores = solve_table(solved, options.name) + propose_table(proposed, known)
    sys.stdout.write(f"{scores}\nMeasured in {time.monotonic() - start:.0f} s.\n")
    if options.card:
        record = json.loads((options.directory / "training.json").read_text(encoding="utf-8"))
        sizes = {str(name): len(sets.load(name)) for name in sets.NAMES}
        (options.directory / "README.md").write_text(model_card(record, sizes, scores), encoding="utf-8")


if __name__ == "__main__":
    main()
