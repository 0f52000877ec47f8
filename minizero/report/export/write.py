"""A run's result as others load it: a plain PEFT adapter, a whole model or a GGUF file, with its card; to the hub when
asked.

Reading order: export, _write_gguf, then the checks before publishing.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from minizero.config import Config
from minizero.formatting import shell
from minizero.learn.members import others_beside
from minizero.models.files import check_weights, read_adapter
from minizero.models.merge import is_adapter, log_prob_change, merge
from minizero.models.style import style_of
from minizero.report.asked import asked_so_far
from minizero.report.export.evaluations import evaluations_of
from minizero.report.export.licence import licence_of, texts_of
from minizero.report.export.model_card import model_card
from minizero.report.export.modelfile import modelfile
from minizero.report.verdict import judge
from minizero.selfplay.run_data import RunData, newest_checkpoint, read_run
from minizero.types import MissingPackage, ModelError, RunError

if TYPE_CHECKING:
    from minizero.models.gguf_write import Kind


class Hub(Protocol):
    """What publishing asks of huggingface_hub.HfApi."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any: ...
    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any: ...


def export(
    path: Path,
    *,
    out: Path | None = None,
    merged: bool = False,
    gguf: Kind | None = None,
    base: str = "",
    push: str = "",
    private: bool = True,
    hub: Hub | None = None,
    evaluations: Sequence[Path] = (),
    notice: Callable[[str], None] = lambda text: None,
) -> Path:
    """Write the newest checkpoint of a run to `out` (default: RUN/export/adapter, /model or /gguf); the directory.

    `gguf`: one file for llama.cpp, its matrices of that type, and a Modelfile for Ollama.
    `base` is the hub name of the base model, for the card and the adapter, where the run used a local directory.
    `evaluations`: what `minizero evaluate` wrote of these weights, for the card.
    `push`, a hub name such as user/name, publishes after checking that the training changed log-probabilities.
    What cannot be read of the run, so that the card lacks it, is told to `notice`; of several adapters, which it is.
    """
    run = read_run(path)
    if run.config is None:
        raise RunError(f"{run.problems[0]} An export needs the settings.")
    for problem in run.problems:
        notice(problem)
    trained, config = newest_checkpoint(path), run.config
    if trained.name == "adapter":
        read_adapter(trained)
        if words := others_beside(trained):
            notice(words)
    else:
        check_weights(trained)
    kind = "gguf" if gguf else "adapter" if is_adapter(trained) and not merged else "model"
    found = evaluations_of(trained, evaluations)
    named = base or config.model.name
    if push:
        _check_push(push, named, kind)
    out = out or path / "export" / kind
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out} is not empty. Remove it, or give another place with --out.")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if gguf:
        _write_gguf(run, trained, partial, gguf)
    elif merged and is_adapter(trained):
        merge(config.model, trained, partial)
    else:
        shutil.copytree(trained, partial, dirs_exist_ok=True, ignore=shutil.ignore_patterns("README.md"))
    if kind == "adapter":
        _name_base(partial / "adapter_config.json", base, config)
    else:  # whoever passes on weights passes on the terms that they came with
        for text in texts_of(config.model.name):
            shutil.copyfile(text, partial / text.name)
    licence = licence_of(config.model.name, shown=named)
    card = model_card(
        run, judge(run), base=_shown(named), kind=kind, licence=licence, asked=asked_so_far(run), evaluations=found
    )
    (partial / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    if push:
        _push(config, trained, out, push, private, hub)
    return out


def _write_gguf(run: RunData, trained: Path, out: Path, kind: Kind) -> None:
    """out/NAME-KIND.gguf and out/Modelfile. The merged model lies beside them while it is written."""
    from minizero.models.gguf_write import check_writable, described, write_gguf
    from minizero.models.names import locate

    assert run.config is not None
    config = run.config
    whole = trained
    if is_adapter(trained):
        check_writable(Path(locate(config.model.name)))
        whole = out / "merged"
        merge(config.model, trained, whole)
    name = re.sub(r"[^\w.-]+", "-", f"{_shown(config.model.name).rpartition('/')[2]}-minizero-{run.done}-{kind}")
    write_gguf(whole, out / f"{name}.gguf", kind, name=name)
    sizes, tokenizer = described(whole)
    positions = int(sizes.max_position_embeddings)
    words = modelfile(f"{name}.gguf", tokenizer, style=_style(run, tokenizer), positions=positions)
    (out / "Modelfile").write_text(words, encoding="utf-8")
    if whole != trained:
        shutil.rmtree(whole)


def _style(run: RunData, tokenizer: Any) -> str:
    """The prompt style that the run's model was trained on."""
    assert run.config is not None
    asked = run.config.prompt.style
    if asked != "auto":
        return asked
    noted = re.match(r"prompt style (\w+)", str(run.manifest.get("style", "")))
    return noted[1] if noted else style_of(run.config.model.name, tokenizer, [tokenizer.eos_token_id]).name


def _check_push(push: str, base: str, kind: str) -> None:
    user, slash, name = push.partition("/")
    if not (slash and user and name) or "/" in name:
        raise RunError(f"--push {push}: expected a name on the hub, user/name.")
    if kind == "adapter" and (base == "tiny" or Path(base).expanduser().is_dir()):
        raise RunError(
            f"--push {push}: the adapter's base is {_shown(base)}, which nobody else has. Name it as it is called on "
            "the hub with --base user/name, or publish a whole model with --merged."
        )


def _push(config: Config, trained: Path, out: Path, push: str, private: bool, hub: Hub | None) -> None:
    change = log_prob_change(config.model, trained)
    if not change > 0:
        raise ModelError(
            f"--push {push}: the trained weights give the same log-probabilities as the base (change {change:.3g} "
            f"nats a token), so there is nothing to publish. The export lies in {out}."
        )
    if hub is None:
        try:
            from huggingface_hub import HfApi
        except ImportError:
            raise MissingPackage("huggingface_hub", "--push", "pip install huggingface_hub") from None
        hub = HfApi()
    try:
        hub.create_repo(push, private=private, exist_ok=True)
        hub.upload_folder(repo_id=push, folder_path=str(out), commit_message="minizero export")
    except Exception as error:  # no network, offline mode, no login, no right: each library has errors of its own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"--push {push}: the hub did not take it ({type(error).__name__}: {first}). The export lies in {out}; once "
            f"`hf auth login` and a network are there, publish it with  {shell('hf', 'upload', push, out)}"
        ) from None


def _name_base(file: Path, base: str, config: Config) -> None:
    """The adapter names its base as the user does, not by the directory of the machine that trained."""
    settings = json.loads(file.read_text(encoding="utf-8"))
    if base:
        settings["base_model_name_or_path"] = base
    elif not Path(str(settings.get("base_model_name_or_path"))).is_dir():
        settings["base_model_name_or_path"] = config.model.name
    file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _shown(name: str) -> str:
    """A hub name as it is; of a local directory only its last part."""
    return Path(name).expanduser().resolve().name if Path(name).expanduser().is_dir() else name
