"""From files and --set overrides to one validated Config; all problems are reported together.

Reading order: load_config, check (what pydantic cannot see), to_toml, difference; sentence_of says what a setting is.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError

from minizero.config.adapters import adapter_problems
from minizero.config.base import items_of
from minizero.config.early import early_stop_problems
from minizero.config.files import find_file
from minizero.config.fp8 import fp8_problems
from minizero.config.learning import prompt_group_problems, unusable_terms
from minizero.config.reward import memory_problems, vote_problems
from minizero.config.schema import Config
from minizero.config.server import server_problems
from minizero.config.tasks import parameter_problems
from minizero.formatting import did_you_mean
from minizero.types import ConfigError, Role, StyleError, TaskType

Tree = dict[str, Any]

# Names from elsewhere that no spelling distance leads to ours.
ELSEWHERE = {
    "learning_rate": "optim.lr",
    "batch_size": "selfplay.proposals",
    "train_batch_size": "selfplay.proposals",
    "n_samples": "selfplay.attempts",
    "mc_samples": "selfplay.attempts",
    "num_generations": "selfplay.solve_samples",
    "max_steps": "selfplay.steps",
    "seed": "run.rng_seed",
    "lora_r": "adapter.rank",
    "lora_alpha": "adapter.alpha",
    "use_rslora": "adapter.rslora",
    "beta": "loss.kl_weight",
    "kl_coef": "loss.kl_weight",
    "io_n": "prompt.examples",
    "problem_types": "selfplay.task_types",
    "composite_start_step": "composites.start_step",
    "composite_chance": "composites.chance",
    "composite_function_n_min": "composites.n_min",
    "composite_function_n_max": "composites.n_max",
    "composite_scheduler": "composites.scheduler",
    "num_inputs": "prompt.induction_inputs",
    "gpu_memory_utilization": "run.vram_gib",
}

# What PEFT can do and this project does not: vLLM refuses each of them, or it would sample from another policy.
_PLAIN = "adapters are plain LoRA, because vLLM serves no other kind. Leave it out"
_DORA = "vLLM serves no DoRA, so that another policy would be sampled than the one that is trained"
UNSUPPORTED = {
    "use_dora": f"{_DORA}. Leave it out",
    "dora": f"{_DORA}. Leave it out",
    "lora_bias": _PLAIN,
    "bias": _PLAIN,
    "modules_to_save": f"{_PLAIN}, or train everything with adapter.kind=full",
    "init_lora_weights": f"{_PLAIN} (PiSSA, OLoRA and LoftQ change the base)",
    "lora_dropout": "what is sampled from and what is trained would differ. Leave it out",
    "rank_pattern": _PLAIN,
    "alpha_pattern": _PLAIN,
}


def load_config(files: Iterable[str | Path | Mapping[str, Any]] = (), overrides: Iterable[str] = ()) -> Config:
    """Stack TOML files (or their contents) left to right, then `a.b=value` overrides; ConfigError lists every problem.

    >>> load_config(overrides=["optim.lr=2e-5"]).optim.lr
    2e-05
    """
    problems: list[str] = []
    tree: Tree = {}
    for name in files:
        try:
            tree = _merge(tree, name if isinstance(name, Mapping) else read_toml(find_file(Path(name))))
        except ConfigError as error:
            problems += error.problems
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {text}: expected  --set section.name=value , for example  --set optim.lr=2e-5")
            continue
        tree = _merge(tree, _nest(key.strip(), _parse_value(value.strip())))
    if problems:
        raise ConfigError(*problems)
    return config_from(tree)


def config_from(tree: Mapping[str, Any]) -> Config:
    """Validate a nested mapping. Raises ConfigError with one sentence per problem."""
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(*dict.fromkeys(_sentence(e) for e in error.errors())) from None
    problems = check(config)
    if problems:
        raise ConfigError(*problems)
    unlearned = _unlearned(config)
    if unlearned:
        raise StyleError(*unlearned)
    return config


def check(config: Config) -> list[str]:
    """Contradictions between sections, one sentence each with what to do."""
    play, problems = config.selfplay, []
    if not play.task_types:
        problems.append("selfplay.task_types is empty: name at least one of deduction, abduction, induction, error.")
    is_alone = set(play.task_types) in ({TaskType.INDUCTION}, {TaskType.INDUCTION, TaskType.ERROR})
    if is_alone and play.proposals and config.buffer.seeds == "zero":
        problems.append(
            "selfplay.task_types = induction alone (or with error): an induction proposal is about a deduction or "
            "abduction task's program, and there will be none. Add a type, or set selfplay.proposals=0 with seeds of "
            "your own."
        )
    if play.proposals == 0 and play.solves == 0:
        problems.append("selfplay.proposals = 0 and selfplay.solves = 0: a step would do nothing. Set one of them.")
    if play.attempts == 1:
        problems.append(
            "selfplay.attempts = 1: a solve rate needs at least 2 attempts to tell 0 from 1. "
            "Try --set selfplay.attempts=8"
        )
    if play.attempts == 0 and play.proposals and play.train_propose:
        problems.append(
            "selfplay.attempts = 0 with selfplay.train_propose: learnability cannot be measured. "
            "Try --set selfplay.attempts=8 or --set selfplay.train_propose=false"
        )
    problems += [*early_stop_problems(config), *fp8_problems(config), *server_problems(config)]
    problems += adapter_problems(config)
    problems += prompt_group_problems(config.advantage.propose, Role.PROPOSE, play.propose_samples)
    problems += prompt_group_problems(config.advantage.solve, Role.SOLVE, play.solve_samples)
    problems += unusable_terms(config.reward, play.task_types)
    problems += vote_problems(config.reward, play.solves, play.solve_samples)
    problems += memory_problems(config.reward, config.buffer.memory, config.buffer.cap)
    for role, count, samples in (
        ("proposals", play.proposals, play.propose_samples),
        ("solves", play.solves, play.solve_samples),
    ):
        if count % samples:
            problems.append(
                f"selfplay.{role} = {count} is not a multiple of its {samples} samples per prompt. "
                f"Try --set selfplay.{role}={-(-count // samples) * samples}"
            )
    if config.model.quantization != "none" and config.adapter.kind == "full":
        problems.append(
            f"model.quantization = {config.model.quantization} with adapter.kind = full: "
            "a 4-bit base cannot be trained. Try --set adapter.kind=lora"
        )
    kl_tokens = config.eval.kl_base_tokens
    if kl_tokens not in ("auto", 0) and config.adapter.kind == "full" and not config.loss.kl_weight:
        problems.append(
            f"eval.kl_base_tokens = {kl_tokens} with adapter.kind = full: the base's weights are kept beside the "
            "trained ones only with loss.kl_weight above 0. Try --set eval.kl_base_tokens=auto or --set "
            "loss.kl_weight=0.001"
        )
    if config.optim.norm_lr and config.adapter.kind == "lora":
        problems.append(
            f"optim.norm_lr = {config.optim.norm_lr} with adapter.kind = lora: an adapter has no norm gains. "
            "Try --set optim.norm_lr=0"
        )
    if any(n < 1 for n in play.request_lines):
        problems.append(f"selfplay.request_lines = {list(play.request_lines)}: numbers of lines start at 1.")
    return problems + parameter_problems(config.prompt.style, play.request_parameters)


def _unlearned(config: Config) -> list[str]:
    """What the tiny model's prompt style has no words for: the model was trained without it."""
    style = config.prompt.style
    if style != "compact" and not (style == "auto" and config.model.name == "tiny"):
        return []
    asked = {
        "selfplay.task_types with error": TaskType.ERROR in config.selfplay.task_types,
        f"composites.start_step = {config.composites.start_step}": config.composites.start_step > 0,
    }
    why = "the tiny model (prompt.style = compact) was trained without it and would only guess. Use another model"
    return [f"{name}: {why}." for name, is_asked in asked.items() if is_asked]


def read_toml(path: Path) -> Tree:
    """One TOML file as a nested dict; ConfigError names file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def to_toml(config: Config) -> str:
    """The whole resolved config as TOML text that load_config reads back to an equal Config."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def difference(config: Config, base: Config | None = None) -> dict[str, tuple[Any, Any]]:
    """Dotted name -> (base value, value) of every setting that differs from `base` (default: the defaults)."""
    left, right = (_flatten((base or Config()).model_dump(mode="json")), _flatten(config.model_dump(mode="json")))
    names = [*left, *(name for name in right if name not in left)]
    return {name: (left.get(name), right.get(name)) for name in names if left.get(name) != right.get(name)}


def _merge(base: Tree, over: Mapping[str, Any]) -> Tree:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _nest(dotted: str, value: Any) -> Tree:
    """Dotted name -> nested dict. A part in double quotes may hold dots, and so may a file's function in a table of
    free names, whose quotes a shell may have taken: reward.propose.terms.my.py:f."""
    for table in (".".join(path) for path in _all_names() if _is_free([*path])):
        if function := re.fullmatch(rf'{re.escape(table)}\.([^"]+\.py:\w+)((?:\.\w+)*)', dotted):
            dotted = f'{table}."{function[1]}"{function[2]}'
    tree: Any = value
    for quoted, bare in reversed(re.findall(r'"([^"]*)"|([^."]+)', dotted)):
        tree = {quoted or bare: tree}
    return tree if isinstance(tree, dict) else {dotted: value}


def _parse_value(text: str) -> Any:
    """A --set value: TOML if it parses (numbers, true, [..], "..", {..}), else the bare string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _sentence(error: Any) -> str:
    """One pydantic error as a sentence: what was seen, what was expected, the nearest name."""
    where = [str(part) for part in error["loc"]]
    name = ".".join(where)
    if error["type"] == "extra_forbidden":
        *parents, last = where
        if parents == ["adapter"] and last in UNSUPPORTED:
            return f"{name} is not supported: {UNSUPPORTED[last]}."
        known = _fields_of(parents)
        near = difflib.get_close_matches(last, known, n=1, cutoff=0.5)
        everywhere = [".".join(path) for path in _all_names() if path[-1] == last]
        hint = f"Did you mean {ELSEWHERE[last]}?" if last in ELSEWHERE else ""
        if not hint and everywhere:
            hint = f"Did you mean {' or '.join(everywhere)}?"
        hint = hint or (f"Did you mean {'.'.join([*parents, near[0]])}?" if near else "")
        if not hint and known:
            hint = f"Known here: {', '.join(known)}."
        if not hint:
            hint = f"{'.'.join(parents)} has no settings inside."
        return f"{name} is not a setting. {hint}"
    shown = json.dumps(error["input"], default=str)[:80]
    if error["type"] == "tuple_type":
        return f"{name} = {shown}: {_a_list(where, str(error['input']))}"
    return f"{name} = {shown}: {error['msg'].removeprefix('Value error, ')}."


def _is_free(path: list[str]) -> bool:
    """Whether a dotted name is a table by free names, such as reward.propose.terms."""
    model = _section(path[:-1])
    field = model.model_fields.get(path[-1]) if model else None
    return field is not None and get_origin(field.annotation) is dict


def _a_list(where: list[str], given: str) -> str:
    """What a setting that takes a list expects, with the nearest of its words."""
    model = _section(where[:-1])
    field = model.model_fields.get(where[-1]) if model else None
    words = items_of(field.annotation) if field else []
    if not words:
        return f"expected a list, for example  --set '{'.'.join(where)}=[1, 2]'"
    return f"expected one or more of {', '.join(words)}.{did_you_mean(given, words)}"


def sentence_of(name: str) -> str:
    """The sentence that the schema has for a setting; "" for a name inside a free table."""
    *parents, last = name.split(".")
    model = _section(parents)
    field = model.model_fields.get(last) if model else None
    return " ".join((field.description or "").split()) if field else ""


def _fields_of(path: list[str]) -> list[str]:
    model = _section(path)
    return list(model.model_fields) if model else []


def _section(path: list[str]) -> type[BaseModel] | None:
    """The model behind a dotted name; None where it is no section."""
    model: Any = Config
    for part in path:
        if get_origin(model) is dict:  # a table by free names: reward.propose.terms
            model = get_args(model)[1]
            continue
        field = model.model_fields.get(part) if isinstance(model, type) and issubclass(model, BaseModel) else None
        model = field.annotation if field else None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _all_names(model: type[BaseModel] = Config, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    names = []
    for key, field in model.model_fields.items():
        names.append((*above, key))
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += _all_names(field.annotation, (*above, key))
    return names


def _flatten(tree: Mapping[str, Any], above: str = "") -> Tree:
    flat: Tree = {}
    for key, value in tree.items():
        name = f"{above}{key}"
        flat |= _flatten(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat
