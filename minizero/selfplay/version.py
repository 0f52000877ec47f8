"""Which version of minizero made a run, and what another one may do with it.

Reading order: VERSION, made_by, difference, then refuse_another (before a resume) and caution (for whoever reads).

A patch (0.1.0 to 0.1.1) mends faults and keeps settings, files and the meaning of numbers. A minor version (0.1 to 0.2)
may change any of them, so it never continues a run of another one: half of its steps would mean something else. It
still reads such a run, and a new run may start from its weights.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minizero.config.disk import checkpoints
from minizero.types import RunError

VERSION = "0.1.0"  # minizero.__version__, which a file of this folder may not import; a test compares the two


def made_by(manifest: Mapping[str, Any]) -> str:
    """The version in a run's manifest; "" where it names none."""
    versions = manifest.get("versions")
    return str(versions.get("minizero") or "") if isinstance(versions, Mapping) else ""


def is_another(manifest: Mapping[str, Any], version: str = VERSION) -> bool:
    """Whether a run was made by another minor version. A run that names none is taken for one of this version.

    >>> [is_another({"versions": {"minizero": theirs}}, "0.2.0") for theirs in ("0.2.3", "0.1.9")]
    [False, True]
    """
    theirs = made_by(manifest)
    return bool(theirs) and _minor(theirs) != _minor(version)


def refuse_another(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raise RunError where a run of another minor version is to be continued."""
    if not is_another(manifest):
        return
    commit = manifest.get("commit")
    saved = checkpoints(path)
    start = f"minizero selfplay --from-checkpoint {shlex.quote(str(saved[-1]))}" if saved else ""
    raise RunError(
        f"{path} was made by minizero {made_by(manifest)}, and this is {VERSION}: settings, files and numbers may mean "
        f"something else, so it is not continued. Continue it with minizero {made_by(manifest)}"
        f"{f' (commit {commit})' if commit else ''}"
        + (f", or start a new run from its weights:  {start}" if start else ", or start a new run.")
    )


def caution(manifest: Mapping[str, Any]) -> str:
    """A sentence for reports about a run of another minor version; "" for one of this."""
    if not is_another(manifest):
        return ""
    return (
        f"The run was made by minizero {made_by(manifest)} and is read by {VERSION}: what its settings and metrics "
        "mean may have changed."
    )


def code_change(manifest: Mapping[str, Any], code: str) -> str:
    """A sentence for a resume with other code of the same minor version; "" where the code is that of the start.

    `code`: manifest.code_digest() of now.
    """
    theirs = manifest.get("code")
    if not theirs or theirs == code:
        return ""
    return (
        f"the code has changed since this run began (minizero {made_by(manifest) or 'unknown'}, code {theirs}; now "
        f"{VERSION}, code {code}), so what follows need not be what an uninterrupted run would have done"
    )


def _minor(version: str) -> tuple[str, ...]:
    """("0", "1") of "0.1.3"; what is no version stands for itself."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found.groups() if found else (version,)
