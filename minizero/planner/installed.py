"""Packages of this Python that overwrite each other's files, found in their RECORDs.

An installer copies the files of every wheel over what is there, without a word. Where two packages bring the same file,
one of them is broken: cuda-python 12 overwrites 28 files of cuda-bindings 13, and vLLM then fails when it starts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib import metadata

# Left over from building flashinfer and torch-c-dlpack-ext; nothing imports it.
HARMLESS = {"build_backend.py"}


def owned_twice(files: Mapping[str, Iterable[str]]) -> dict[tuple[str, ...], list[str]]:
    """Package -> its files; returns the packages that share some -> those files.

    >>> owned_twice({"a": ["x.py", "y.py"], "b": ["y.py"], "c": ["z.py"]})
    {('a', 'b'): ['y.py']}
    """
    owners = defaultdict(set)
    for package, names in files.items():
        for name in names:
            owners[name].add(package)
    shared = defaultdict(list)
    for name in sorted(owners):
        if len(owners[name]) > 1 and name not in HARMLESS:
            shared[tuple(sorted(owners[name]))].append(name)
    return dict(shared)


def installed_files() -> dict[str, list[str]]:
    """Name and version -> the files of every installed package, without compiled ones and commands."""
    found: dict[str, list[str]] = {}
    seen = set()
    for package in metadata.distributions():
        if package.metadata["Name"] in seen:
            continue  # of two places, the one that Python looks at first
        seen.add(package.metadata["Name"])
        names = [str(name) for name in package.files or ()]
        kept = [name for name in names if not name.startswith("..") and not name.endswith(".pyc")]
        found[f"{package.metadata['Name']} {package.version}"] = kept
    return found
