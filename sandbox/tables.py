"""Members of a set or dict that were chosen to collide, found before the table is built, which takes quadratic time.

Reading order: check_members, then its two parts: members of one hash, and hashes whose searches for a free slot meet.
The searches are repeated step by step as CPython makes them, so the verdict is the same every time, without a clock.
"""

from itertools import pairwise
from typing import Any, Final

MAX_SAME_HASH: Final = 32
"""Members of one table that may share a hash: each is compared with all before it."""
SEARCHED: Final = 512
"""Tables below this many members are too small for searches to be long."""
MAX_STEPS: Final = 32
"""Slots that a member may look at, on average, until it finds one. Unchosen members need two or three."""


def check_members(members: list[Any]) -> str:
    """Why a set or dict of these would take too long to build; empty when it would not."""
    if len(members) <= MAX_SAME_HASH:
        return ""
    hashes = list(map(hash, members))
    order = sorted(range(len(members)), key=hashes.__getitem__)
    who, group = list(range(len(members))), [order[0]]
    for before, here in pairwise(order):
        if hashes[before] != hashes[here]:
            group = [here]
            continue
        # Equal members are one member, however often they come.
        same = next((at for at in group if members[at] is members[here] or members[at] == members[here]), None)
        if same is not None:
            who[here] = same
        elif len(group) == MAX_SAME_HASH:
            return f"more than {MAX_SAME_HASH} members of a set or dict share one hash"
        else:
            group.append(here)
    if len(members) < SEARCHED:
        return ""
    # A set grows from three fifths full to four times its size, so this passes every size that any table has.
    size = SEARCHED
    while size <= 7 * len(members):
        if not _soon_found(hashes, who, size):
            return "the members of a set or dict were chosen to collide"
        size *= 2
    return ""


def _soon_found(hashes: list[int], who: list[int], size: int) -> bool:
    """Whether members find slots in a few steps, in a table of this size, until it is full enough to grow."""
    slots, mask = [-1] * size, size - 1
    room, steps = size * 2 // 3, MAX_STEPS * min(size, len(who))
    for value, one in zip(hashes, who, strict=True):
        at, rest = value & mask, value & 0xFFFFFFFFFFFFFFFF
        while (there := slots[at]) != -1 and there != one:
            rest >>= 5
            at = (at * 5 + rest + 1) & mask
            steps -= 1
        if steps < 0:
            return False
        if there == -1:
            slots[at] = one
            room -= 1
            if not room:
                break
    return True
