"""What protects a sandbox, in words and as data: for the run's manifest, the console and `python -m sandbox`.

Reading order: Report, then its table of the self-test.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sandbox.layers import LAYERS
from sandbox.selftest import Trial


@dataclass(frozen=True, slots=True)
class Report:
    """The layers that are in force and missing here, and what the self-test tried."""

    in_force: dict[str, str]
    """Layer name to detail (`in a user namespace`, `version 7`), as found at start-up."""
    missing: dict[str, str]
    """Layer name to the reason why it is not in force."""
    trials: tuple[Trial, ...]
    unprotected: str
    """Why untrusted code is not contained; empty when it is."""
    unsafe: bool
    """The user said to go on without containment."""
    zygote_mib: float
    """Memory of an idle zygote that it does not share with others, in MiB."""

    @classmethod
    def from_greeting(cls, greeting: dict[str, Any], unsafe: bool) -> "Report":
        """From what a zygote says about itself when it is ready."""
        return cls(
            in_force=greeting["in_force"],
            missing=greeting["missing"],
            trials=tuple(Trial(**trial) for trial in greeting["trials"]),
            unprotected=greeting["unprotected"],
            unsafe=unsafe,
            zygote_mib=round(greeting["private_bytes"] / (1 << 20), 1),
        )

    def as_data(self) -> dict[str, Any]:
        """For a JSON manifest."""
        return asdict(self)

    def __str__(self) -> str:
        """In words, a line or two."""
        lines = []
        if self.unprotected:
            lines.append(f"UNSAFE, because the user said so: {self.unprotected}" if self.unsafe else self.unprotected)
        details = [f"{name} ({detail})" if detail else name for name, detail in self.in_force.items()]
        lines.append("layers in force: " + ", ".join(details))
        if self.missing:
            lines.append("missing: " + ", ".join(f"{name} ({reason})" for name, reason in self.missing.items()))
        return "\n".join(lines)

    def table(self) -> str:
        """The self-test, one line per forbidden act, then one per missing layer."""
        outcome = {True: "refused: ", False: "SUCCEEDED: "}
        rows = [(trial.layer, trial.act, outcome[trial.refused] + trial.answer) for trial in self.trials]
        rows += [(name, LAYERS[name], "not in force: " + reason) for name, reason in self.missing.items()]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{layer:{widths[0]}}  {act:{widths[1]}}  {what}" for layer, act, what in rows)
