"""Graphics cards and what they offer: every GeForce RTX from the 20 series on, desktop and laptop, and some of servers.

Reading order: Card, GEFORCE (one row each), CARDS; find_card (a name as a user types it), known_card (as torch calls
it), this_card, card_of (the one that a run uses).

Rows are the maker's: memory, its bandwidth, multiprocessors, the boost clock of the reference card (of a laptop the
highest that it may reach). Dense 16-bit matrix products with 32-bit sums follow from them: a GeForce multiprocessor
does 512 operations in each clock, which gives the 53 (2080 Ti), 71 (3090), 165 (4090) and 209 (5090) TFLOPS of the data
sheets, rounded down. AMD's and Intel's cards are not here: vLLM, bitsandbytes and torch are installed for CUDA.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from minizero.types import ConfigError

if TYPE_CHECKING:
    from minizero.config.schema import Config

GIB = 2**30
OPERATIONS = 512  # of a multiprocessor in a clock
# Memory on the box -> GiB that a process can use, without what driver and desktop take.
USABLE = {4: 3.6, 6: 5.6, 8: 7.6, 10: 9.6, 11: 10.6, 12: 11.6, 16: 15.6, 24: 23.5, 32: 31.3}


@dataclass(frozen=True, slots=True)
class Card:
    """What a card offers: GiB that a process can use, bytes per second, dense 16-bit operations per second with 32-bit
    sums, and whether it computes bfloat16 (compute capability 8 and above; the RTX 20 series has 7.5)."""

    name: str
    gib: float
    bandwidth: float
    flops: float
    has_bfloat16: bool = True
    free: float = 0.0  # GiB that were free when this process first looked; 0: not a card of this machine
    has_fp8: bool = False  # multiplies 8-bit floats, at twice the speed of 16 bits (compute capability 8.9 and above)


# Name: GB, GB/s, multiprocessors, MHz.
GEFORCE: dict[str, tuple[int, int, int, int]] = {
    "rtx2060-6g": (6, 336, 30, 1680),
    "rtx2060-12g": (12, 336, 34, 1650),
    "rtx2060super": (8, 448, 34, 1650),
    "rtx2070": (8, 448, 36, 1620),
    "rtx2070super": (8, 448, 40, 1770),
    "rtx2080": (8, 448, 46, 1710),
    "rtx2080super": (8, 496, 48, 1815),
    "rtx2080ti": (11, 616, 68, 1545),
    "rtx2060-laptop": (6, 336, 30, 1560),
    "rtx2070-laptop": (8, 448, 36, 1440),
    "rtx2070super-laptop": (8, 448, 40, 1380),
    "rtx2080-laptop": (8, 448, 46, 1590),
    "rtx2080super-laptop": (8, 448, 48, 1560),
    "rtx3050-6g": (6, 168, 18, 1470),
    "rtx3050-8g": (8, 224, 20, 1777),
    "rtx3060-8g": (8, 240, 28, 1777),
    "rtx3060-12g": (12, 360, 28, 1777),
    "rtx3060ti": (8, 448, 38, 1665),
    "rtx3070": (8, 448, 46, 1725),
    "rtx3070ti": (8, 608, 48, 1770),
    "rtx3080-10g": (10, 760, 68, 1710),
    "rtx3080-12g": (12, 912, 70, 1710),
    "rtx3080ti": (12, 912, 80, 1665),
    "rtx3090": (24, 936, 82, 1695),
    "rtx3090ti": (24, 1008, 84, 1860),
    "rtx3050-laptop": (4, 192, 16, 1740),
    "rtx3050ti-laptop": (4, 192, 20, 1695),
    "rtx3060-laptop": (6, 336, 30, 1703),
    "rtx3070-laptop": (8, 448, 40, 1620),
    "rtx3070ti-laptop": (8, 448, 46, 1485),
    "rtx3080-laptop-8g": (8, 448, 48, 1710),
    "rtx3080-laptop-16g": (16, 448, 48, 1710),
    "rtx3080ti-laptop": (16, 512, 58, 1590),
    "rtx4060": (8, 272, 24, 2460),
    "rtx4060ti-8g": (8, 288, 34, 2535),
    "rtx4060ti-16g": (16, 288, 34, 2535),
    "rtx4070": (12, 504, 46, 2475),
    "rtx4070super": (12, 504, 56, 2475),
    "rtx4070ti": (12, 504, 60, 2610),
    "rtx4070tisuper": (16, 672, 66, 2610),
    "rtx4080": (16, 717, 76, 2505),
    "rtx4080super": (16, 736, 80, 2550),
    "rtx4090d": (24, 1008, 114, 2520),
    "rtx4090": (24, 1008, 128, 2520),
    "rtx4050-laptop": (6, 192, 20, 2370),
    "rtx4060-laptop": (8, 256, 24, 2370),
    "rtx4070-laptop": (8, 256, 36, 2175),
    "rtx4080-laptop": (12, 432, 58, 2280),
    "rtx4090-laptop": (16, 576, 76, 2040),
    "rtx5050": (8, 320, 20, 2572),
    "rtx5060": (8, 448, 30, 2497),
    "rtx5060ti-8g": (8, 448, 36, 2572),
    "rtx5060ti-16g": (16, 448, 36, 2572),
    "rtx5070": (12, 672, 48, 2512),
    "rtx5070ti": (16, 896, 70, 2452),
    "rtx5080": (16, 960, 84, 2617),
    "rtx5090d": (32, 1792, 170, 2407),
    "rtx5090": (32, 1792, 170, 2407),
    "rtx5050-laptop": (8, 384, 20, 2662),
    "rtx5060-laptop": (8, 384, 26, 2497),
    "rtx5070-laptop": (8, 384, 36, 2347),
    "rtx5070ti-laptop": (12, 672, 46, 2220),
    "rtx5080-laptop": (16, 896, 60, 2287),
    "rtx5090-laptop": (24, 896, 82, 2160),
}
SERVERS = (
    Card("a10", 22.0, 600e9, 125e12),
    Card("l4", 22.0, 300e9, 121e12, has_fp8=True),
    Card("a100-40g", 39.4, 1555e9, 312e12),
    Card("a100-80g", 79.2, 2039e9, 312e12),
    Card("h100", 79.2, 3350e9, 989e12, has_fp8=True),
    Card("h200", 139.5, 4800e9, 989e12, has_fp8=True),
)
CARDS = {
    name: Card(
        name,
        USABLE[gb],
        speed * 1e9,
        OPERATIONS * processors * mhz // 10**6 * 1e12,
        name[:5] != "rtx20",
        has_fp8=name[:5] in ("rtx40", "rtx50"),
    )
    for name, (gb, speed, processors, mhz) in GEFORCE.items()
} | {card.name: card for card in SERVERS}

_MEMORY = re.compile(r"(?:^|[\s_(-])(\d{1,3})\s*gi?b?\b")
_LAPTOP = re.compile(r"laptop|mobile|notebook|max-?q")
_NOISE = re.compile(r"nvidia|geforce|graphics|card|gpu|with|design|tensor|core|sxm\d?|pcie|hbm\de?|[\s_()-]")
_OTHER_MAKER = re.compile(r"\b(?:amd|radeon|rx\s?\d|instinct|mi\d{2,3}|intel|arc)")


def _read(name: str) -> tuple[str, bool, int | None]:
    """(model, whether it is a laptop's, GB) of a name in any spelling.

    >>> _read("RTX 4070 Ti SUPER"), _read("3060 12GB"), _read("NVIDIA GeForce RTX 4090 Laptop GPU")
    (('rtx4070tisuper', False, None), ('rtx3060', False, 12), ('rtx4090', True, None))
    """
    text = name.lower()
    found = _MEMORY.search(text)
    if found:
        text = text[: found.start()] + text[found.end() :]
    is_laptop = bool(_LAPTOP.search(text))
    model = _NOISE.sub("", _LAPTOP.sub("", text))
    return f"rtx{model}" if re.match(r"\d{4}", model) else model, is_laptop, int(found[1]) if found else None


def _called(name: str) -> list[Card]:
    """The cards of that model and kind, whatever their memory."""
    wanted = _read(name)[:2]
    return [card for card in CARDS.values() if _read(card.name)[:2] == wanted]


def find_card(name: str) -> Card:
    """A card by name, however it is spelled: "3060 12GB", "rtx 4070 ti super", "RTX-4090 laptop". Raises ConfigError
    that names those meant, the nearest, or those there are."""
    gb, found = _read(name)[2], _called(name)
    if gb is not None and len(found) > 1:
        found = [card for card in found if _read(card.name)[2] == gb]
    elif gb is not None:
        found = [card for card in found if abs(card.gib - gb) < 0.15 * gb]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise ConfigError(f"--card {name}: there are several. Give {' or '.join(card.name for card in found)}.")
    if _OTHER_MAKER.search(name.lower()):
        raise ConfigError(
            f"--card {name}: minizero plans for NVIDIA's cards. Its packages (vLLM, bitsandbytes, torch with CUDA) are "
            "not built for others, and nobody has run it on one."
        )
    same = [card.name for card in _called(name)] or difflib.get_close_matches(_read(name)[0], CARDS, n=3, cutoff=0.75)
    hint = f" Did you mean {' or '.join(same)}?" if same else ""
    raise ConfigError(
        f"--card {name}: not a card that minizero knows.{hint} There are rtx3090, rtx4090, rtx5090 and every other "
        "GeForce RTX from 2060 to 5090 (such as rtx4060ti-16g, rtx4070tisuper, rtx4090-laptop), "
        f"{', '.join(card.name for card in SERVERS)}."
    )


def known_card(name: str, gib: float) -> Card | None:
    """The card of the table that torch calls so; of two with one name, the one nearest in memory.

    >>> known_card("NVIDIA A100-SXM4-80GB", 79.1).name
    'a100-80g'
    """
    return min(_called(name), key=lambda card: abs(card.gib - gib), default=None)


def is_part(name: str) -> bool:
    """Whether what torch calls so is a part of a card (MIG), which has a part of its speed."""
    return "MIG" in name


def this_card() -> Card | None:
    """The CUDA card of this process: the first one, or what its launcher chose. Its speed is known when its name is in
    the table, else 0."""
    import torch

    if not torch.cuda.is_available():
        return None
    name, total = torch.cuda.get_device_name(), torch.cuda.get_device_properties().total_memory / GIB
    known = None if is_part(name) else known_card(name, total)
    return Card(
        name,
        total - 0.3,
        known.bandwidth if known else 0.0,
        known.flops if known else 0.0,
        torch.cuda.get_device_capability()[0] >= 8,
        free_at_start(),
        torch.cuda.get_device_capability() >= (8, 9),
    )


def card_of(config: Config) -> Card | None:
    """The card that a run of this config uses here; None: a CPU."""
    return this_card() if config.model.device != "cpu" else None


@cache
def free_at_start() -> float:
    """GiB of the card that were free when this was first asked, which is before weights load; other programs and the
    desktop hold the rest. What torch holds of them by now is counted as free."""
    import torch

    return float(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()) / GIB
