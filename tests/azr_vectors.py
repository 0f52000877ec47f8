"""The recorded inputs and outputs of the official functions, beside the repository; tests skip where they are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def azr_records(name: str) -> list[dict[str, Any]]:
    """The records of one vector file, from shared/data/azr-vectors in a folder above this file."""
    for folder in Path(__file__).resolve().parents:
        path = folder / "shared" / "data" / "azr-vectors" / name
        if path.is_file():
            return list(json.loads(path.read_text())["records"])
    pytest.skip(f"needs shared/data/azr-vectors/{name} beside the repository (recorded outputs of the official code)")
