"""An advantage estimator of your own: a plain function of tensors, given to `train`.

    python examples/own_estimator.py            # a worked example, then a short run; --steps 20 for a longer one

N rollouts of both roles arrive together. `groups` says which of them belong together, by "role", by "task_type" and by
"prompt"; what is returned is the advantage of each. The built-in ones are in minizero/learn/advantages.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import tyro
from torch import Tensor

from minizero import train


def forgiving(rewards: Tensor, lengths: Tensor, groups: Mapping[str, Tensor], baseline: Tensor | None) -> Tensor:
    """A[N] = (R - mean) / deviation by role and task type, as TRR++ over sequences; but below the mean it counts half.

    rewards[N], lengths[N] in tokens, groups: name -> ids[N], baseline[N]: rewards of greedy answers, mostly None.
    Rewards 1, 1, -0.5, -0.5 of one group: mean 0.25, deviation 0.75, so A = 1, 1, -0.5, -0.5.
    """
    pairs = torch.stack([groups["role"], groups["task_type"]], dim=1)
    group = torch.unique(pairs, dim=0, return_inverse=True)[1]
    advantages = torch.zeros_like(rewards)
    for one in group.unique():
        mine = group == one
        centred = rewards[mine] - rewards[mine].mean()
        advantages[mine] = centred / (centred.square().mean().sqrt() + 1e-6)
    return torch.where(advantages < 0, advantages / 2, advantages)


def worked_example() -> Tensor:
    """Four answers to deduction tasks, and two proposals, which are a group of their own."""
    rewards = torch.tensor([1.0, 1.0, -0.5, -0.5, 0.75, -1.0])
    groups = {"role": torch.tensor([0, 0, 0, 0, 1, 1]), "task_type": torch.zeros(6, dtype=torch.long)}
    return forgiving(rewards, torch.ones(6), groups, None)


def main(steps: int = 3, set: tuple[str, ...] = ()) -> None:
    """Print the worked example, then train with the estimator. `set`: more settings, such as optim.lr=1e-4."""
    print("four answers, two proposals:", " ".join(f"{value:+.2f}" for value in worked_example().tolist()))
    run = train("tiny", steps=steps, estimator=forgiving, settings=["eval.tasks=none", *set])
    for row in run.metrics:
        spread = row["advantage/std"]
        print(f"step {row['step']}: {row['solve/correct_frac']:.0%} solved, advantages spread by {spread:.2f}")
    print(f"{run.path} keeps the function in forgiving.py")


if __name__ == "__main__":
    tyro.cli(main)
