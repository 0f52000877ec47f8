"""A small batch sampler for measuring the tiny model while it is trained; self-play uses minizero/rollout/ instead.

Reading order: `generate`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

MAX_NEW_TOKENS = 256
_PROMPT_TOKENS_A_BATCH = 12_288


@torch.no_grad()
def generate(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    samples: int,
    temperature: float,
    seed: int,
) -> list[list[str]]:
    """`samples` completions of each prompt, without special tokens; temperature 0 is greedy."""
    generator = torch.Generator().manual_seed(seed)
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))  # little padding: neighbours are as long
    texts: list[list[str]] = [[] for _ in prompts]
    batch: list[int] = []
    for position, number in enumerate(order):
        batch.append(number)
        is_last = position + 1 == len(order)
        if is_last or (len(batch) + 1) * samples * len(ids[order[position + 1]]) > _PROMPT_TOKENS_A_BATCH:
            rows = _decode([ids[n] for n in batch], model, samples, temperature, generator)
            for row, new_ids in enumerate(rows):
                texts[batch[row // samples]].append(str(tokenizer.decode(new_ids, skip_special_tokens=True)))
            batch = []
    return texts


def _decode(
    prompts: list[list[int]],
    model: Qwen2ForCausalLM,
    samples: int,
    temperature: float,
    generator: torch.Generator,
) -> list[list[int]]:
    """New ids of len(prompts) x samples rows without EOS. Prompts are padded on the left, finished rows dropped."""
    eos, pad = model.config.eos_token_id, model.config.pad_token_id
    assert isinstance(eos, int)
    assert isinstance(pad, int)
    longest = max(map(len, prompts))
    tokens = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
    cache = out.past_key_values
    cache.batch_repeat_interleave(samples)
    logits = out.logits[:, -1].repeat_interleave(samples, 0)
    mask, last = mask.repeat_interleave(samples, 0), positions[:, -1:].repeat_interleave(samples, 0)
    rows: list[list[int]] = [[] for _ in range(len(prompts) * samples)]
    alive = list(range(len(rows)))
    for _ in range(MAX_NEW_TOKENS):
        if temperature == 0:
            chosen = logits.argmax(-1)
        else:
            chosen = torch.multinomial((logits.float() / temperature).softmax(-1), 1, generator=generator)[:, 0]
        keep = (chosen != eos).nonzero()[:, 0]
        for index in keep.tolist():
            rows[alive[index]].append(int(chosen[index]))
        if not len(keep):
            break
        if len(keep) < len(alive):
            alive = [alive[index] for index in keep.tolist()]
            cache.batch_select_indices(keep)
            chosen, mask, last = chosen[keep], mask[keep], last[keep]
        mask = torch.cat([mask, mask.new_ones(len(alive), 1)], -1)
        last = last + 1
        out = model(input_ids=chosen[:, None], attention_mask=mask, position_ids=last, past_key_values=cache)
        logits = out.logits[:, -1]
    return rows
