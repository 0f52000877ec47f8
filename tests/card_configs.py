"""The shipped configs that are planned for a card: all but those for processors."""

from __future__ import annotations

from pathlib import Path

FOR_PROCESSORS = ("tiny", "Qwen2.5-Coder-0.5B-Instruct")
CONFIGS = (Path(__file__).parent.parent / "configs").glob("*.toml")
CARD_CONFIGS = sorted(path for path in CONFIGS if path.stem not in FOR_PROCESSORS)
