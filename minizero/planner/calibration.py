"""Constants of the plan that were measured on this machine: `make first-light` appends them to a file, the plan reads
them. Without a line that suits, pace.py assumes shares of a card's data sheet.

Reading order: Measured (one line of the file), where, read, measured_for (the line that suits a plan), append.
The file is JSON Lines and only ever grows; whoever does not want a line deletes it.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from minizero.config.schema import Config
from minizero.models.processor import processor_name
from minizero.planner.cards import Card, is_part, known_card
from minizero.planner.shapes import Shape
from minizero.types import ConfigError

VARIABLE = "MINIZERO_CALIBRATION"  # another file; "": none
LIKE = 8.0  # a model of so many times more or fewer parameters runs at other rates: small matrices fill no card


@dataclass(frozen=True, slots=True)
class Measured:
    """What first-light measured with one model on one device. Rates are those that were reached, in the plan's own
    formulas (pace.seconds); None: not measured, so the plan goes on assuming.

    bandwidth   bytes a second of weights and cache, while few sequences are decoded
    decode      operations a second, while as many are decoded as the settings allow
    prefill     operations a second over prompts
    train       operations a second of an update
    overhead_s  seconds of a step that are neither: the adapter's way to the sampler, the cache given back and taken
    beyond_gib  memory at the peak that the plan had not counted
    """

    device: str  # as torch or the processor calls itself
    date: str
    model: str
    parameters: float  # of the linear layers and the head
    value_bytes: int
    quantization: str
    trains: str  # adapter.kind
    sampler: str  # vllm or transformers
    bandwidth: float | None = None
    decode: float | None = None
    prefill: float | None = None
    train: float | None = None
    overhead_s: float = 0.0
    beyond_gib: float = 0.0
    versions: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the minutes of a step follow from it, without any data sheet."""
        return bool(self.bandwidth and self.decode and self.train)

    def words(self, path: Path | None) -> str:
        """A sentence for the plan: what it is calibrated by."""
        return f"Calibrated by {path}: measured on {self.date} with {self.model} on {self.device}."


def where() -> Path | None:
    """The file: MINIZERO_CALIBRATION, else minizero/calibration.jsonl in XDG_CONFIG_HOME or ~/.config. None: none."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE]).expanduser() if os.environ[VARIABLE] else None
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "minizero" / "calibration.jsonl"


def read(path: Path | None) -> list[Measured]:
    """Every line, the oldest first; [] without a file. Raises ConfigError that names a line that is damaged."""
    if path is None or not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(_checked(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{path}, line {number}: {error}. It is no calibration: delete the line, and run  make first-light  "
                "to measure again"
            ) from None
    return found


def _checked(row: object) -> Measured:
    """A line as Measured. Raises ValueError with what is wrong; names of a later version are left out."""
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, not {type(row).__name__}")
    known = {field.name: field for field in fields(Measured)}
    missing = [name for name, field in known.items() if field.default is MISSING and name not in row]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    for name, field in known.items():
        value, kind = row.get(name), str(field.type)
        if name not in row or (value is None and "None" in kind):
            continue
        if kind == "str":
            if not isinstance(value, str):
                raise ValueError(f"{name} = {value!r} is no text")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} = {value!r} is no finite number from 0 on")
        elif "None" in kind and value == 0:
            raise ValueError(f"{name} = 0 would make a step endless")
    return Measured(**{name: row[name] for name in known if name in row})


def append(path: Path, measured: Measured) -> None:
    """One line more; nothing that is there changes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(measured)) + "\n")


def measured_for(config: Config, shape: Shape, card: Card | None, *, value_bytes: int, vllm: bool) -> Measured | None:
    """The newest line of this device that was measured with the same kind of weights, training and sampler, and with a
    model of about this size; of several sizes the nearest."""
    size = matmul_parameters(shape)
    sampler = "vllm" if vllm else "transformers"
    kind = (value_bytes, config.model.quantization, config.adapter.kind, sampler)
    best: tuple[float, Measured] | None = None
    for row in read(where()):
        apart = abs(math.log(row.parameters / size)) if row.parameters else math.inf
        same = kind == (row.value_bytes, row.quantization, row.trains, row.sampler)
        if same and apart <= math.log(LIKE) and is_of(row.device, card) and (best is None or apart <= best[0]):
            best = apart, row
    return best[1] if best else None


def beyond_plan_gib(card: Card | None) -> float:
    """GiB that the newest line of this card says the plan leaves out; the formulas are estimates there. 0 on a CPU."""
    if card is None:
        return 0.0
    return next((row.beyond_gib for row in reversed(read(where())) if is_of(row.device, card)), 0.0)


def is_of(device: str, card: Card | None) -> bool:
    """Whether a device, by its own name, is this card (of the machine or of the table), or without a card this CPU."""
    if card is None:
        return device == processor_name()
    if device == card.name:
        return True
    if is_part(device) or card.free:  # a part of a card; a card of this machine has its full name
        return False
    known = known_card(device, card.gib)
    return known is not None and known.name == card.name


def matmul_parameters(shape: Shape) -> int:
    """N: what every token is multiplied with, the linear layers and the head."""
    return shape.linear + shape.vocabulary * shape.hidden
