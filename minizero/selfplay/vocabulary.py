"""Vocabulary dropout: tokens that this step's proposals must do without (selfplay.vocabulary_dropout).

After arXiv 2604.03472: a hard random mask on the proposer's logits, another one each step, in sampling and in the
loss, so that it cannot settle on a few texts; tokens of the form are spared. Departs: there a share of the whole
vocabulary is masked, here the same share of the tokens that recent tasks are made of. Others are hardly ever written,
and vLLM biases at most 1,024 tokens of a request.

Reading order: masked_tokens.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence

from minizero.types import Message, Prompt, Task

MOST = 1024  # tokens of one mask
RECENT = 512  # of each type's newest tasks, whose tokens may be masked


def masked_tokens(
    shelves: Sequence[Sequence[Task]], encode: Callable[[Prompt], Sequence[int]], share: float, rng: random.Random
) -> tuple[int, ...]:
    """Ids of `share` of the tokens that are in the programs and inputs of each shelf's newest tasks, but in fewer than
    half of them: what most programs have belongs to the form. At most 1,024, in rising order."""
    tasks = list(itertools.chain(*(shelf[-RECENT:] for shelf in shelves)))
    having = Counter(
        itertools.chain(*(set(encode(Prompt((Message("user", f"{t.own_program}\n{t.input}"),)))) for t in tasks))
    )
    rare = sorted(token for token, count in having.items() if 2 * count < len(tasks))
    return tuple(sorted(rng.sample(rare, min(MOST, round(share * len(rare))))))
