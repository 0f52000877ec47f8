"""What a watcher reads while completions are written: how many, how fast, and how many proposals became tasks."""

from __future__ import annotations

from collections import Counter

WORTH_SAYING = 6  # proposals without one that was admitted


def sampled_so_far(completed: int, pending: int, tokens: int, seconds: float) -> str:
    """Completions, their tokens (those of open ones too), and the rate over so many seconds of sampling."""
    words = f"{completed} completions" + (f", {pending} open" if pending else "")
    if not tokens:
        return f"{words}, reading prompts" if pending else words
    rate = f", {tokens / seconds:,.0f} tok/s" if seconds > 1 else ""
    return f"{words}, {tokens:,} tokens{rate}"


def admitted_so_far(reasons: Counter[str]) -> str:
    """How many proposals were admitted, counted under the reason ""; of many without one, what they lacked."""
    total, admitted = reasons.total(), reasons[""]
    if admitted:
        return f"; {admitted} of {total} admitted"
    if total < WORTH_SAYING:
        return ""
    often = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(3) if count)
    return f"; none of {total} admitted: {often}"
