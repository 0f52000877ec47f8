"""The recorded inputs and outputs of the official functions (tests/data/azr-vectors; tests/README.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "data" / "azr-vectors"


def azr_records(name: str) -> list[dict[str, Any]]:
    """The records {label, input, output} of one file of vectors."""
    return list(json.loads((VECTORS / name).read_text(encoding="utf-8"))["records"])
