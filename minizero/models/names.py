"""Where a model's name leads: the built-in tiny one, a directory, a GGUF file, a hub name. No torch here.

Reading order: locate, check_name (is it to be had?), architecture (its config.json), check_positions.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minizero.formatting import did_you_mean
from minizero.models.files import read_settings
from minizero.models.gguf import directory_of, is_gguf
from minizero.types import ModelError

if TYPE_CHECKING:
    from minizero.config.schema import Config

HUB_S = 10.0  # how long a hub may take to answer
TINY = Path(__file__).parents[1] / "tiny" / "weights"


def locate(name: str) -> str:
    """The directory or hub name behind a model name. Raises ModelError for a directory that holds no model."""
    if name == "tiny":
        return str(TINY)
    path = Path(name).expanduser()
    if is_gguf(name):
        return str(directory_of(path))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{name} is a directory without config.json: not a model in Hugging Face format. "
                "Point model.name at the folder that holds config.json, model.safetensors and tokenizer.json."
            )
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelError(
            f"{name}: no such directory. Give a model directory, a hub name such as Qwen/Qwen2.5-Coder-3B, or tiny."
        )
    return name


def check_name(name: str, known: Collection[str] = ()) -> None:
    """Raise ModelError at once for a hub name that is nowhere to be had; `known`: names for "did you mean".

    What is in the local cache needs no hub. A hub that does not answer within seconds counts as none: the long retries
    of a download are for downloads.
    """
    source = locate(name)
    if Path(source).exists() or _is_cached(source):
        return
    last = name.rpartition("/")[2]
    hint = did_you_mean(last, known, 0.7) if last not in known else ""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        HfApi().model_info(source, timeout=HUB_S)
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"{name} is no directory here and no model on the hub.{hint} Give a model directory, a hub name such as "
            "Qwen/Qwen2.5-Coder-3B, or tiny."
        ) from None
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise ModelError(f"{name}: the hub answers {error.response.status_code}.{hint} Try again later.") from None
        raise ModelError(f"{name}: the hub asks for a login or for the model's terms. Run  hf auth login") from None
    except Exception as error:  # no network, offline mode, a proxy: each library has errors of its own for it
        raise ModelError(
            f"{name} is no directory here, it is not in the local cache, and the hub cannot be reached "
            f"({type(error).__name__}).{hint}"
        ) from None


def _is_cached(source: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(source, "config.json"), str)
    except ValueError:
        return False  # not even the form of a hub name


def check_positions(config: Config) -> None:
    """Raise ModelError, before weights load, where a prompt and its answer may be longer than the model reads."""
    from transformers import AutoConfig

    play = config.selfplay
    answer = max(play.propose_max_tokens, play.solve_max_tokens)
    try:
        sizes = AutoConfig.from_pretrained(locate(config.model.name)).get_text_config(decoder=True)
    except (OSError, ValueError):
        return  # what is wrong with the model is said when it loads
    known = getattr(sizes, "max_position_embeddings", None) or getattr(sizes, "n_positions", None)
    change = positions_change_after(sizes)
    most = min((limit for limit in (known, change) if limit), default=0)
    if most and play.max_prompt_tokens + answer > most:
        fits = f"--set selfplay.max_prompt_tokens={most - answer}" if answer < most else "shorter answers"
        why = f"reads {most}" if most == known else f"computes other positions in texts of more than {most} (longrope)"
        raise ModelError(
            f"a prompt of selfplay.max_prompt_tokens = {play.max_prompt_tokens} and an answer of {answer} tokens are "
            f"{play.max_prompt_tokens + answer} together, but {config.model.name} {why}. Try  {fits}"
        )


def positions_change_after(sizes: Any) -> int | None:
    """The length up to which every position of a text is computed by the same factors; None: always.

    With longrope (Phi-3 and 3.5, MiniCPM) all positions of a longer text have others, the first ones too: its cached
    keys would be wrong from one token to the next, and so would short texts beside a long one.
    """
    found = getattr(sizes, "rope_parameters", None) or {}
    kinds = [found] if "rope_type" in found else [kind for kind in found.values() if isinstance(kind, dict)]
    limits = [kind.get("original_max_position_embeddings") for kind in kinds if kind.get("rope_type") == "longrope"]
    return min((int(limit) for limit in limits if limit), default=None)


def architecture(source: str) -> dict[str, Any]:
    """config.json of a local model directory, as a dict; of a model that also sees images, the text part's values.
    Raises ModelError when it is damaged."""
    sizes = read_settings(Path(source) / "config.json")
    return sizes | dict(sizes.get("text_config") or {})
