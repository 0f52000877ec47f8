"""Sums over groups of a vector's elements: the tokens of a sequence, the rewards of a group."""

from __future__ import annotations

from torch import Tensor


def group_sum(values: Tensor, ids: Tensor) -> Tensor:
    """The sum over its group, given back to each element.

    values: of N. ids: integers of N from 0; equal ones make a group. [1, 2, 4] in the groups [0, 1, 0] -> [5, 2, 5].
    """
    sums = values.new_zeros(int(ids.max()) + 1 if len(ids) else 0)
    return sums.index_add(0, ids, values)[ids]
