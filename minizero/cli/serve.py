"""The command that starts vLLM's own server."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import tyro

from minizero.config.named import MODEL, origin, resolve
from minizero.formatting import shell


def serve(
    model: Annotated[str, tyro.conf.Positional] = MODEL,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    config: tuple[Path, ...] = (),
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    more: str = "",
    dry_run: bool = False,
) -> None:
    """Start vLLM's server for a model, so that runs and evaluations sample from it (sampler.backend=server).

    Args:
        model: As for selfplay, with the same --config and --set: lengths and the adapter's rank follow from them.
        host: The address that it listens on; 0.0.0.0 for other machines, with a key in VLLM_API_KEY on both sides.
        port: Its port.
        config: TOML files stacked over the model's own.
        set: One setting, section.name=value; may be repeated.
        more: vLLM's own arguments, in quotes: "--tensor-parallel-size 2 --data-parallel-size 4".
        dry_run: Print the command and stop.
    """
    from minizero.config.server import KEY, is_local
    from minizero.models.processor import device_of
    from minizero.rollout.serve import serve_command

    # The run's own settings may be given: those of its sampler are not the server's.
    settings = resolve(model, config, (*set, "sampler.backend=auto", "sampler.url=[]", "selfplay.ahead=0"))
    device = device_of(settings.model.device)
    command = serve_command(
        settings, host=host, port=port, has_key=bool(os.environ.get(KEY)), device=device, more=shlex.split(more)
    )
    print(origin(model, config))
    print(command)
    where = host if is_local(f"http://{host}") else "HOST"
    words: list[object] = ["minizero", "selfplay", model]
    words += [word for path in config for word in ("--config", path)] + [word for one in set for word in ("--set", one)]
    again = shell(*words, "--set", "sampler.backend=server", "--set", f"sampler.url=http://{where}:{port}")
    print(f"Once it has started, a run samples from it with\n  {again}", flush=True)
    if not dry_run:
        os.execvpe(command.words[0], command.words, os.environ | command.environment)
