"""Does any extra install a file twice? For every extra and Python, what uv or pip resolves, and the wheels' RECORDs.

    pip install uv && python benchmarks/wheel_files.py [EXTRA ...] [--python 3.11 3.12 3.13] [--without-constraints]
                                                       [--resolver uv | pip]

pip resolves for the Python that it runs on, so each version has to be there (`uv python list` shows them).

A package that overwrites another's files breaks it without a word: cuda-python 12 overwrites cuda-bindings 13, and
`import flashinfer` fails when the engine starts. Nothing is installed: of each wheel only the end is read, over HTTP
ranges, which is where a zip file keeps its table of contents. Exit status 1 when a file has two owners.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from minizero.planner.installed import owned_twice

ROOT = Path(__file__).parents[1]
PLATFORM = "x86_64-manylinux_2_28"
BLOCK = 2**16  # bytes of one request, at least


# Constraints that an extra cannot meet, and that the Makefile leaves out for it: vLLM's mistral_common wants an older
# numpy, evalplus' google-generativeai an older protobuf.
LEFT_OUT = {"vllm": "numpy==", "evaluate": "protobuf=="}


class Unresolved(Exception):
    """No versions go together, or there is no such Python."""


class Remote(io.RawIOBase):
    """A file behind a URL, read by ranges, as zipfile reads it."""

    def __init__(self, url: str, size: int) -> None:
        self.url, self.size, self.position = url, size, 0
        self.start, self.kept = 0, b""

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        return self.position

    def read(self, count: int = -1) -> bytes:
        end = self.size if count < 0 else min(self.size, self.position + count)
        if not (self.start <= self.position and end <= self.start + len(self.kept)):
            first, last = self.position, min(self.size, max(end, self.position + BLOCK))
            if last == self.size:
                first = max(0, min(first, last - BLOCK))  # the end of a wheel is read backwards
            request = urllib.request.Request(self.url, headers={"Range": f"bytes={first}-{last - 1}"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                if answer.status != 206:
                    raise OSError("the index answers no ranges")
                self.start, self.kept = first, answer.read()
        found = self.kept[self.position - self.start : end - self.start]
        self.position = end
        return found


Wheel = tuple[str, str, int]  # version, URL, bytes


def by_pip(extra: str, python: str, constraints: Path | None) -> dict[str, Wheel]:
    """Package -> its wheel as pip resolves the extra; nothing is installed, and wheels are not downloaded where the
    index serves their metadata."""
    with tempfile.TemporaryDirectory() as folder:
        own = ["uv", "venv", "-q", "--seed", "--no-python-downloads", "--python", python, folder + "/own"]
        report = Path(folder) / "report.json"
        command = [
            f"{folder}/own/bin/python", "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--report",
            str(report), f"{ROOT}[{extra}]", *(("-c", str(constraints)) if constraints else ()),
        ]  # fmt: skip
        for step in (own, command):
            # An empty folder instead of one that this machine's pip is set up with, where another torch may lie.
            done = subprocess.run(step, env=os.environ | {"PIP_FIND_LINKS": folder}, capture_output=True, text=True)
            if done.returncode:
                raise Unresolved(" ".join(done.stderr.split())[-300:])
        packages = json.loads(report.read_text())["install"]
    found = {}
    for package in packages:
        name, version, url = *(package["metadata"][key] for key in ("name", "version")), package["download_info"]["url"]
        if url.endswith(".whl"):
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
                found[name] = (version, url, int(answer.headers["Content-Length"]))
        elif "dir_info" not in package["download_info"]:  # which is minizero itself
            print(f"  {name} {version}: no wheel, so its files are not known")
    return found


def by_uv(extra: str, python: str, constraints: Path | None) -> dict[str, Wheel]:
    """Package -> its wheel as uv resolves the extra."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "pylock.toml"
        command = [
            "uv", "pip", "compile", "-q", "--python-version", f"{python}.9", "--python-platform", PLATFORM,
            "--extra", extra, "--format", "pylock.toml", "-o", str(lock), str(ROOT / "pyproject.toml"),
            *(("-c", str(constraints)) if constraints else ()),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Unresolved(" ".join(done.stderr.split())[-300:])
        packages = tomllib.loads(lock.read_text())["packages"]
    tag = "cp" + python.replace(".", "")
    found = {}
    for package in packages:
        files = [(one["url"], int(one["size"])) for one in package.get("wheels", []) if "url" in one]
        if not files:
            print(f"  {package['name']} {package.get('version', '')}: no wheel, so its files are not known")
            continue
        best = max(files, key=lambda file: (tag in file[0].rpartition("/")[2], "abi3" in file[0], -len(file[0])))
        found[package["name"]] = (package.get("version", ""), *best)
    return found


def record(wheel: Wheel) -> list[str]:
    """The files that a wheel installs, from its RECORD."""
    _, url, size = wheel
    is_here = url.startswith("file:")
    place: Any = urllib.request.url2pathname(url.removeprefix("file://")) if is_here else Remote(url, size)
    with zipfile.ZipFile(place) as archive:
        (name,) = (path for path in archive.namelist() if path.endswith(".dist-info/RECORD") and path.count("/") < 2)
        return [row[0] for row in csv.reader(io.StringIO(archive.read(name).decode())) if row]


def main() -> int:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", default=list(extras))
    parser.add_argument("--python", nargs="+", default=["3.11", "3.12", "3.13"])
    parser.add_argument("--without-constraints", action="store_true", help="as  pip install 'minizero[EXTRA]'  does")
    parser.add_argument("--resolver", choices=["uv", "pip"], default="uv")
    asked, bad, read = parser.parse_args(), False, dict[Wheel, list[str]]()
    wheels = by_pip if asked.resolver == "pip" else by_uv
    with tempfile.TemporaryDirectory() as folder:
        for python in asked.python:
            for extra in asked.extras:
                path = Path(folder) / "constraints.txt"
                lines = (ROOT / "constraints.txt").read_text().splitlines()
                without = tuple(pin for word, pin in LEFT_OUT.items() if word in extra)
                path.write_text("\n".join(line for line in lines if not line.startswith(without)))
                try:
                    chosen = wheels(extra, python, None if asked.without_constraints else path)
                except Unresolved as problem:
                    print(f"{python} {extra}: {asked.resolver} does not resolve it: {problem}", flush=True)
                    bad = True
                    continue
                missing = [wheel for wheel in chosen.values() if wheel not in read]
                with ThreadPoolExecutor(8) as pool:
                    read.update(zip(missing, pool.map(record, missing), strict=True))
                shared = owned_twice({f"{name} {wheel[0]}": read[wheel] for name, wheel in chosen.items()})
                print(
                    f"{python} {extra}: {len(chosen)} wheels, {sum(map(len, shared.values()))} files with two owners",
                    flush=True,
                )
                for who, names in shared.items():
                    print(f"  {', '.join(who)}: {len(names)} files, such as {min(names)}")
                bad |= bool(shared)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
