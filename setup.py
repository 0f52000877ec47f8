"""What pyproject.toml cannot say: a wheel carries configs/ inside the package, and the commit that it was built from.

In the repository configs/ lies at the top, where people look for it; a wheel holds it as minizero/configs/, because
`configs` beside other packages would be anybody's. An editable install needs neither: it uses the repository.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfigs(build_py):
    """build_py, and then configs/ and the commit."""

    def run(self) -> None:
        """Build afresh: what an earlier build left in build/lib, a module that moved since, would be in the wheel."""
        if self.editable_mode:
            super().run()
            return
        if Path(self.build_lib) == Path("build", "lib"):
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        for path in (ROOT / "configs").rglob("*.toml"):
            target = Path(self.build_lib, "minizero", path.relative_to(ROOT))
            self.mkpath(str(target.parent))
            self.copy_file(str(path), str(target))
        Path(self.build_lib, "minizero", "commit.txt").write_text(_commit())


def _commit() -> str:
    """`git describe` of the checkout; "" where this is none, as in an unpacked source archive."""
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


setup(cmdclass={"build_py": BuildWithConfigs})
