"""What a comparison allows to conclude, in words; and what it does not.

Reading order: sentences, then one function per question: greedy, one sample, many samples, coverage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FEW = 20  # problems below which no interval is believed


def sentences(numbers: Mapping[str, Any]) -> list[str]:
    """The first lines of the report: cautions, then for each level and pair what can and what cannot be said."""
    said = list(numbers["cautions"])
    for level, found in numbers["levels"].items():
        if found["problems"] < FEW:
            said.append(
                f"{level}: {found['problems']} problems are too few for any conclusion; intervals from fewer than "
                f"{FEW} are not to be believed."
            )
            continue
        for pair in found["pairs"]:
            said.append(f"{level}: {_greedy(pair)}")
            if "difference" in pair:
                said.append(f"{level}: {_sampled(pair)}")
            if "null_split" in pair:
                said.append(f"{level}: {_coverage(pair)}")
        if not found["pairs"]:
            said.append(f"{level}: one model alone; there is nothing to compare it with.")
    if all("difference" not in pair for found in numbers["levels"].values() for pair in found["pairs"]):
        said.append("Without samples nothing can be said about what the models can reach in several tries.")
    return said


def _greedy(pair: Mapping[str, Any]) -> str:
    test, gap = pair["mcnemar"], pair["greedy_difference"]
    split = f"{test['only_trained']} problems only by {pair['trained']}, {test['only_base']} only by {pair['base']}"
    if test["p_value"] < 0.05:
        better = pair["trained"] if gap["value"] > 0 else pair["base"]
        return f"greedily {better} solves more ({split}; exact McNemar p = {test['p_value']:.3g})."
    return f"greedily no difference can be told from chance ({split}; exact McNemar p = {test['p_value']:.3g})."


def _sampled(pair: Mapping[str, Any]) -> str:
    n = pair["n"]
    k = max(1, n // 2)
    one, many = pair["difference"][0], pair["difference"][k - 1]
    words = f"in one sampled answer, {_verdict(pair, one)}"
    if k > 1:
        words += f" With the best of {k}, {_verdict(pair, many)}"
        if one["low"] > 0 and many["high"] < 0:
            words += " Training moved probability to answers that the base already had, and lost others."
        elif one["low"] > 0 and many["low"] <= 0:
            words += " A gain at one try that is not seen at many is what sharpening looks like; it does not prove it."
        elif many["low"] > 0:
            words += (
                f" It reaches more problems than the base does in {k} tries; with more tries the base may catch up."
            )
    return words


def _verdict(pair: Mapping[str, Any], gap: Mapping[str, float]) -> str:
    size = f"{100 * gap['value']:+.1f} points, 95 % {100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}"
    if gap["low"] > 0:
        return f"{pair['trained']} is better than {pair['base']} ({size})."
    if gap["high"] < 0:
        return f"{pair['trained']} is worse than {pair['base']} ({size})."
    return f"no difference can be told from noise ({size})."


def _coverage(pair: Mapping[str, Any]) -> str:
    cell, null = pair["coverage_at_half"]["only_trained"], pair["null_split"]["only_trained"]
    return (
        f"with {pair['n'] // 2} samples each, {cell:.1f} problems are expected to be solved by {pair['trained']} only; "
        f"two halves of {pair['base']}'s own samples already differ by {null:.1f}."
    )
