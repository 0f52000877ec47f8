"""Does vLLM's n-gram speculative decoding draw from the model, and say so? On the tiny model, vLLM's CPU build.

    python benchmarks/ngram_bench.py                one row for each setting, a process each

A row: tokens, those whose log-probability differs by more than 0.01 nats from the model's own forward pass, the mean
surprise of the tokens beside the entropy of their distributions (equal for draws), and the odds against their being
draws (minizero.rollout.agreement.evidence). Reading order: main, row.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
OWN = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1",
}  # fmt: skip
SETTINGS = [
    (drafts, mode, heat) for drafts in (0, 4) for mode in ("processed_logprobs", "raw_logprobs") for heat in (1.0,)
]
SETTINGS.append((4, "processed_logprobs", 0.7))


def row(drafts: int, mode: str, temperature: float) -> str:
    """Sampled in this process; of 20 held-out tasks."""
    import torch
    from vllm import LLM, SamplingParams

    from minizero.config.named import resolve
    from minizero.models.load import load
    from minizero.rollout.agreement import evidence
    from minizero.selfplay.drawing import to_solve
    from minizero.selfplay.validation import held_out_tasks

    config = resolve("tiny", (), ())
    loaded = load(config.model)
    tasks = held_out_tasks(config)[::12][:20]
    prompts = [loaded.tokenizer.encode(to_solve(task, "", "compact", config).prompt) for task in tasks]
    drafting = {"method": "ngram", "num_speculative_tokens": drafts, "prompt_lookup_max": 3, "prompt_lookup_min": 2}
    engine = LLM(
        model=loaded.source, dtype="float32", enforce_eager=True, max_model_len=704, logprobs_mode=mode, block_size=32,
        kv_cache_memory_bytes=2**28, max_num_seqs=32, seed=0, speculative_config=drafting if drafts else None,
    )  # fmt: skip
    asked = SamplingParams(
        temperature=temperature, max_tokens=120, logprobs=0, stop_token_ids=list(loaded.tokenizer.eos_ids),
        detokenize=False,
    )  # fmt: skip
    wrong = tokens = 0
    surprise = entropy = 0.0
    drawn = []
    for output in engine.generate([{"prompt_token_ids": ids} for ids in prompts], asked, use_tqdm=False):
        (written,) = output.outputs
        ids = torch.tensor(written.token_ids)
        said = torch.tensor([place[token].logprob for place, token in zip(written.logprobs, ids.tolist(), strict=True)])
        whole = torch.tensor([[*output.prompt_token_ids, *ids.tolist()]])
        with torch.no_grad():
            logits = loaded.model(input_ids=whole).logits[0].float() / temperature
        rows = logits.log_softmax(-1)[len(output.prompt_token_ids) - 1 : -1]
        own = rows.gather(1, ids[:, None])[:, 0]
        wrong, tokens = wrong + int(((own - said).abs() > 0.01).sum()), tokens + len(ids)
        surprise, entropy = surprise - float(own.sum()), entropy - float((rows.exp() * rows).sum())
        drawn.append((rows, ids))
    return (
        f"drafts {drafts}, {mode}, temperature {temperature}: {tokens} tokens, {wrong} log-probabilities wrong, "
        f"surprise {surprise / tokens:.3f} nats a token beside an entropy of {entropy / tokens:.3f}, "
        f"odds against {evidence(drawn):.1g}"
    )


def main() -> None:
    if len(sys.argv) == 4:
        os.environ.update(OWN)  # before torch and vLLM are imported
        print(row(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
        return
    for setting in SETTINGS:
        done = subprocess.run(
            [sys.executable, __file__, *map(str, setting)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        print(done.stdout.strip().splitlines()[-1] if done.returncode == 0 else done.stderr[-500:], flush=True)


if __name__ == "__main__":
    main()
