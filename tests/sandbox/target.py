"""The things of the host that attacks aim at: a secret, a victim, listening sockets, places where nothing may appear.

Reading order: Target. Its words are what the @CAPITALS@ in attacks.py stand for.
"""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """The host's things that attacks aim at, all within everybody's reach if nothing stops them."""

    directory: Path
    name: str
    words: dict[str, str]

    def aim(self, program: str) -> str:
        for word, meaning in self.words.items():
            program = program.replace(f"@{word}@", meaning)
        return program

    def harm(self) -> list[str]:
        """What an attack has left behind or spoiled; cleaned up for the next one."""
        seen = []
        for path in (Path(self.words["CANARY"]), Path("/dev/shm") / self.name):
            if os.path.lexists(path):
                seen.append(str(path))
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        victim = Path(self.words["VICTIM"])
        if not victim.exists() or victim.read_text() != "victim" or victim.stat().st_mode & 0o777 != 0o666:
            seen.append(str(victim))
            victim.write_text("victim")
            victim.chmod(0o666)
        return seen
