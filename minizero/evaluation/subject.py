"""What is evaluated: a model, an adapter on its base model, or a run; and the engine that samples from it.

Reading order: Subject, find_subject, then open_engine. A run stands for its newest checkpoint, and each of its
checkpoints can be named. An adapter is evaluated beside its base in one engine, a checkpoint of all parameters after
its base in an engine of its own; a model alone has one side. Of a run with several adapters (adapter.roles) the
solver's is evaluated that the run validated; another is named by its directory, checkpoints/step-N/adapters/NAME.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minizero.config import load_config, read_toml
from minizero.config.disk import checkpoints
from minizero.config.tasks import PromptConfig
from minizero.evaluation import few_shot
from minizero.learn.ranks import threads
from minizero.models.files import ADAPTER_WEIGHTS, check_weights, read_adapter
from minizero.models.processor import device_of
from minizero.rollout.protocol import Sampler
from minizero.types import EvaluationError

WEIGHTS = ADAPTER_WEIGHTS


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, and what was trained on it, if anything: an adapter's directory, or that of the whole model.

    `name` is what reports call it; `value_format` the format in which the run that it comes from asked for values,
    where it is one of the evaluation's that a base model keeps too ("": not known, or another).
    """

    name: str
    model: str
    adapter: Path | None = None
    trained: Path | None = None
    value_format: str = ""

    @property
    def sides(self) -> tuple[str, ...]:
        return ("base", "trained") if self.adapter or self.trained else ("base",)

    def identity(self) -> dict[str, str]:
        """What samples belong to: the model's name, and the content of the adapter or of the trained model."""
        trained = self.adapter or self.trained
        return {"model": self.model, "adapter": weights_id(trained) if trained else ""}


def weights_id(trained: Path) -> str:
    """What tells the weights in an adapter's or a whole model's directory from others; "" where there are none."""
    adapter = trained / WEIGHTS
    files = [adapter] if adapter.is_file() else sorted(trained.glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as weights:
            while part := weights.read(1 << 24):
                digest.update(part)
    return digest.hexdigest()[:16] if files else ""


def find_subject(what: str) -> Subject:
    """The subject behind a run directory, a checkpoint of it (RUN/checkpoints/step-N), an adapter directory, a model
    directory or a model's name."""
    path = Path(what).expanduser()
    if (path / "adapter_config.json").is_file():
        return _adapter(path, path.resolve().name)
    if (path / "config.toml").is_file():
        saved = checkpoints(path)
        if not saved:
            raise EvaluationError(f"{path} is a run without checkpoints: there is no adapter to evaluate yet.")
        return _of_run(path, saved[-1], path.resolve().name)
    run = path.resolve().parent.parent
    if path.resolve() in checkpoints(run) and (run / "config.toml").is_file():
        return _of_run(run, path, f"{run.name}-{path.resolve().name}")
    if (path / "checkpoints").is_dir() and (path / "metrics.jsonl").is_file():
        raise EvaluationError(f"{path} is a run without config.toml, so its base model is not known. Restore it.")
    return Subject(what, what)


def _of_run(run: Path, checkpoint: Path, name: str) -> Subject:
    """A run as it was at one of its checkpoints, with the base and the form of answers that its settings name."""
    settings = read_toml(run / "config.toml")
    if not isinstance(settings.get("model"), dict) or "run" not in settings:
        raise EvaluationError(f"{run / 'config.toml'} is not whole, so the base model is not known. Restore it.")
    config = load_config([settings])
    if (checkpoint / "model").is_dir():
        check_weights(checkpoint / "model")
        found = Subject(name, config.model.name, trained=checkpoint / "model")
    else:
        found = _adapter(checkpoint / "adapter", name, config.model.name)
    return replace(found, value_format=_value_format(config.prompt))


def _value_format(prompt: PromptConfig) -> str:
    if prompt.style == "few-shot":
        return few_shot.DIRECT if prompt.think == "off" else few_shot.WITH_THOUGHT
    return "direct" if prompt.style == "direct" else ""


def _adapter(path: Path, name: str, base: str = "") -> Subject:
    adapter = read_adapter(path)
    return Subject(name, base or str(adapter.get("base_model_name_or_path") or ""), path)


@dataclass(slots=True)
class Engine:
    """A sampler, and the policy behind it when log-probabilities can be asked for."""

    sampler: Sampler
    policy: Any = None


def engines_of(subject: Subject) -> list[tuple[Subject, tuple[str, ...]]]:
    """What is to be loaded for which sides, one after the other."""
    if subject.trained is None:
        return [(subject, subject.sides)]
    return [
        (Subject(subject.name, subject.model), ("base",)),
        (Subject(subject.name, str(subject.trained)), ("trained",)),
    ]


def open_engine(subject: Subject, overrides: Sequence[str] = ()) -> Engine:
    """Load model and adapter into the sampler that the settings choose. EvaluationError for a foreign adapter."""
    settings = [f"model.name={subject.model!r}", *overrides]
    if subject.adapter is None:
        return _plain(settings)
    shape = read_adapter(subject.adapter)
    if shape.get("use_dora"):
        raise EvaluationError(
            f"{subject.adapter} is a DoRA adapter, which minizero does not load: vLLM serves none. Merge it into its "
            "base with PEFT (merge_and_unload), and evaluate the merged model."
        )
    targets = shape["target_modules"]
    names = repr(targets) if isinstance(targets, str) else "[" + ", ".join(repr(t) for t in sorted(targets)) + "]"
    settings += [f"adapter.rank={shape['r']}", f"adapter.alpha={int(shape['lora_alpha'])}", f"adapter.targets={names}"]
    settings.append(f"adapter.rslora={str(bool(shape.get('use_rslora'))).lower()}")
    from minizero.learn.policy import Policy
    from minizero.rollout.make import make_sampler

    config = load_config([], settings)
    policy = Policy(config)
    load_adapter(policy, subject.adapter)
    sampler = make_sampler(config, policy, any_length=True)
    sampler.load(policy)  # an engine of its own got the adapter as it was made
    return Engine(seeded(sampler), policy)


def _plain(settings: Sequence[str]) -> Engine:
    """A model without an adapter. Every request has the adapter off, which is switching nothing."""
    import torch

    from minizero.models import load as models
    from minizero.rollout.make import backend, make_sampler
    from minizero.rollout.transformers import TransformersSampler

    config = load_config([], settings)
    kind = backend(config, device_of(config.model.device))
    if kind == "server":  # whatever rank it was started for, this one it takes
        config = load_config([], [*settings, "adapter.rank=1"])
    if kind != "transformers":
        from minizero.learn.policy import Policy

        return Engine(seeded(make_sampler(config, Policy(config), any_length=True)))
    torch.set_num_threads(config.run.threads or threads())
    loaded = models.load(config.model)
    sampler = TransformersSampler(
        loaded.model,
        loaded.tokenizer,
        max_rows=config.sampler.max_rows,
        max_cache_tokens=config.sampler.max_cache_tokens,
        adapter_off=nullcontext,
    )
    return Engine(sampler)


def seeded(sampler: Sampler) -> Sampler:
    """Draw each sample with its own seed where that is a choice (vLLM on a card, servers); returns the sampler."""
    if hasattr(sampler, "seeded"):
        sampler.seeded = True
    return sampler


def load_adapter(policy: Any, path: Path) -> None:
    """Put saved adapter weights into a policy. Names or shapes that do not match belong to another base model."""
    import torch
    from safetensors.torch import load_file

    saved = {_named(name): tensor for name, tensor in load_file(path / WEIGHTS).items()}
    mine = {name: p for name, p in policy.model.named_parameters() if ".lora_" in name}
    saved = {name.removeprefix("base_model.model."): tensor for name, tensor in saved.items()}
    odd = sorted(saved.keys() ^ mine.keys())
    odd += [name for name in saved.keys() & mine.keys() if saved[name].shape != mine[name].shape]
    if odd:
        raise EvaluationError(
            f"{path} is an adapter of another base model than {policy.config.model.name}: {len(odd)} tensors do not "
            f"match, for example {odd[0]}. Name the run that made it, or the adapter beside its own base."
        )
    with torch.no_grad():
        for name, tensor in saved.items():
            mine[name].copy_(tensor)


def _named(name: str) -> str:
    """PEFT leaves the adapter's name out of saved tensors."""
    for part in ("lora_A", "lora_B"):
        name = name.replace(f".{part}.weight", f".{part}.default.weight")
    return name
