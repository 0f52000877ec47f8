"""A reward of your own: a plain function, given to `train`. Here the proposer is paid for short programs.

    python examples/own_reward.py               # two runs, about two minutes on two cores

Two runs from the same seed, one with the reward and one without; what is compared is the length of what they propose.
"""

from __future__ import annotations

from statistics import fmean

import tyro

from minizero import ProposalOutcome, Run, train


def short_program(outcome: ProposalOutcome) -> float:
    """1 for an empty program, 0 for one of 60 characters, less beyond. It sees admitted tasks only."""
    assert outcome.task is not None
    return 1 - len(outcome.task.program) / 60


def mean_length(run: Run, steps: range) -> float:
    """Characters of the programs that became tasks in these steps. An induction proposal writes none."""
    rows = [row for step in steps for row in run.rollouts(step) if row["role"] == "propose" and not row["reason"]]
    return fmean(len(row["task_content"]["program"]) for row in rows if row["type"] != "induction")


def show(row: dict[str, float]) -> None:
    admitted, seconds = row["propose/admitted_frac"], row["time/step_s"]
    print(f"step {row['step']:3}: {admitted:.0%} of the proposals became tasks, {seconds:.1f} s", flush=True)


def main(steps: int = 12, set: tuple[str, ...] = ()) -> None:
    """Train twice; compare the first and the last quarter of the steps. `set`: more settings, such as optim.lr=1e-4."""
    settings = [
        "selfplay.request_lines=[]",  # the length is the proposer's choice
        "loss.propose_weight=1.0",  # what it learns is what we want to see
        "eval.tasks=none",
        *set,
    ]
    quarter = max(1, steps // 4)
    lines = []
    for name, rewards in (("default", {}), ("short_program", {short_program: 1.0})):
        run = train("tiny", steps=steps, rewards=rewards, settings=settings, on_step=show)
        early, late = mean_length(run, range(1, quarter + 1)), mean_length(run, range(steps - quarter + 1, steps + 1))
        lines.append(f"{name:14} {early:5.1f} characters a program at first, {late:5.1f} at last   ({run.path})")
    print("\n".join(lines))


if __name__ == "__main__":
    tyro.cli(main)
