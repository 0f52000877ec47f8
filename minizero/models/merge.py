"""A trained adapter and its base: how far the adapter moves the log-probabilities, and both merged into one model.

Reading order: log_prob_change (0 means that nothing was learned, and nothing should be published), merge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minizero.config.schema import ModelConfig
from minizero.models import load as models
from minizero.types import Message, ModelError, Prompt

PROBE = "def f(x):\n    y = sorted(x)[::-1]\n    return [a + 1 for a in y if a % 2 == 0]\n"


def log_prob_change(config: ModelConfig, trained: Path) -> float:
    """Mean absolute difference, in nats, between the log-probabilities of a fixed program under base and trained.

    `trained` holds a PEFT adapter, or a whole model in Hugging Face format. 0: the training changed nothing.
    """
    import torch

    loaded = models.load(config)
    ids = torch.tensor([loaded.tokenizer.encode(Prompt((Message("user", PROBE),)))], device=loaded.model.device)

    def log_probs(model: Any) -> torch.Tensor:
        with torch.no_grad():
            logits = model(ids).logits[0, :-1].float()
        return logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]

    before = log_probs(loaded.model)
    if is_adapter(trained):
        from peft import PeftModel

        after = log_probs(PeftModel.from_pretrained(loaded.model, str(trained)))
    else:
        after = log_probs(models.load(config.model_copy(update={"name": str(trained)})).model)
    return float((after - before).abs().mean())


def merge(config: ModelConfig, adapter: Path, out: Path) -> None:
    """Write base + adapter as one model in Hugging Face format, with its tokenizer, in the base's float type.

    Raises ModelError for a 4-bit base: rounding to 4 bits after adding the update would lose most of it.
    """
    if config.quantization != "none":
        raise ModelError(
            f"--merged with model.quantization = {config.quantization}: an adapter is never merged into a 4-bit base, "
            "whose rounding would lose most of the update. Export without --merged: the adapter loads on the base."
        )
    from peft import PeftModel

    loaded = models.load(config)
    merged: Any = PeftModel.from_pretrained(loaded.model, str(adapter))
    merged.merge_and_unload().save_pretrained(out)
    loaded.tokenizer.backend.save_pretrained(out)


def is_adapter(path: Path) -> bool:
    """Whether a directory holds a PEFT adapter (and no whole model)."""
    return (path / "adapter_config.json").is_file()
