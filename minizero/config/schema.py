"""All settings, one section each: a sentence under every field says what it does and where its default comes from.

Reading order: Config at the end names the sections; prompt, composites, admission are in tasks.py, reward in
reward.py, advantage, loss in learning.py.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from minizero.config.base import Section, addresses
from minizero.config.learning import AdvantageConfig, LossConfig, RewardConfig
from minizero.config.tasks import AdmissionConfig, CompositesConfig, PromptConfig
from minizero.types import USUAL_TYPES, TaskType


class ModelConfig(Section):
    """Which policy is trained."""

    name: str = "tiny"
    """A built-in model (tiny), a local directory in Hugging Face format, a GGUF file, or a hub name such as
    Qwen/Qwen2.5-Coder-3B."""
    dtype: Literal["auto", "float64", "float32", "bfloat16", "float16"] = "auto"
    """Compute type of the weights. auto: bfloat16; on a CPU float32 for models under 0.2 B parameters, and for all
    where the processor does not multiply bfloat16. float64: to compare runs whose sums have another order, by the
    transformers sampler."""
    quantization: Literal["none", "nf4"] = "none"
    """nf4 holds the frozen base in 4 bits (QLoRA, arXiv 2305.14314); needs adapter.kind = "lora" and bitsandbytes."""
    checkpoint: str = ""
    """A checkpoint of a run (checkpoints/step-N) or a PEFT adapter to start from; "": a new adapter."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the policy lives. auto: cuda when torch sees a card, else cpu."""


class AdapterConfig(Section):
    """What of the policy is trained."""

    kind: Literal["lora", "full"] = "lora"
    """lora trains low-rank updates of linear layers (PEFT); full trains every parameter (AZR's choice)."""
    rank: int = Field(32, ge=1, le=512)
    """LoRA rank. 32 suffices for reinforcement learning at these batch sizes ("LoRA Without Regret", 2025)."""
    alpha: int = Field(64, gt=0)
    """LoRA scale: the update is multiplied by alpha / rank. Twice the rank is the common choice."""
    rslora: bool = False
    """true: multiplied by alpha / sqrt(rank) instead (rsLoRA, arXiv 2312.03732), so that a large rank does not learn
    more slowly; at rank 32 that is 5.7 times as much. vLLM serves both."""
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names of the linear layers that get an adapter, or all of them but the head."""
    roles: Literal["shared", "separate", "population"] = "shared"
    """shared: one adapter plays both roles (AZR: one policy). separate: proposer and solver have one each, on one
    frozen base; Tool-R0 (arXiv 2602.21320) found that shared weights hurt. population: several of each role, paired by
    rating (PopuLoRA, arXiv 2605.16727); validated and exported is the best rated solver."""
    proposers: int = Field(2, ge=1, le=16)
    """Adapters that propose, with adapter.roles = population (PopuLoRA: 4; 2 of each are a third of its memory)."""
    solvers: int = Field(2, ge=1, le=16)
    """Adapters that solve, with adapter.roles = population (PopuLoRA: 4)."""
    replace_every: int = Field(0, ge=0)
    """Steps after which the weakest of each role becomes a mutated copy of the best, with adapter.roles = population;
    0: never. PopuLoRA replaces; how often is our choice, and no run has compared it."""
    mutation: float = Field(0.02, ge=0, le=1)
    """Noise in such a copy, in standard deviations of each of its tensors. Our choice: small beside what was learned,
    and far above rounding."""


class SelfplayConfig(Section):
    """How much of what one step does."""

    steps: int = Field(500, ge=0)
    """Steps of the whole run. The AZR paper trains 500."""
    task_types: tuple[TaskType, ...] = USUAL_TYPES
    """Task types proposed and solved: deduction, abduction, induction (AZR's scripts), and error (AZR's code_e)."""
    proposals: int = Field(64, ge=0)
    """Propose completions per task type and step (AZR: 64)."""
    solves: int = Field(64, ge=0)
    """Solve completions per task type and step (AZR: 64), one for each drawn task times solve_samples."""
    solve_samples: int = Field(1, ge=1)
    """Completions per drawn task (AZR: 1). Estimators that group by prompt need at least 2."""
    propose_samples: int = Field(1, ge=1)
    """Completions per propose prompt (AZR: 1). Estimators that group by prompt need at least 2."""
    attempts: int = Field(8, ge=0)
    """Sampled attempts at each admitted task, to estimate its solve rate (AZR: 8). 0: no learnability is measured."""
    first_attempts: int = Field(0, ge=0)
    """Of these, so many are asked first, and the others only where the first ones all solved the task or all failed; 0:
    all at once (AZR). With 4 of 8 and even solve rates 30 % fewer are made. The expected reward and what the buffer
    keeps stay as they are; the reward's noise grows (rewards/attempts.py)."""
    ahead: Literal[0, 1] = 0
    """1: while the policy learns from a step, a server samples the next one, with the adapter of the step before: what
    is learned from is at most one update old, and the importance correction (loss.correction) knows. 0: in turn."""
    solve_from: Literal["previous", "same"] = "previous"
    """previous: solve what the step before proposed (the official code's order); same: this step's tasks (the
    paper's)."""
    train_propose: bool = True
    """false: proposals are made and buffered but not trained on (the paper's "train solver only")."""
    train_on_attempts: bool = False
    """true: also train the solver on the attempts that estimate the solve rate; they are most of what is generated."""
    solver_warmup_steps: int = Field(0, ge=0)
    """Steps at the start that only solve (AZR's pretrain_pred_steps)."""
    propose_max_tokens: int = Field(2048, ge=1)
    """Longest propose completion, in tokens (AZR: 8096; most of a small model's fit in 2048)."""
    solve_max_tokens: int = Field(2048, ge=1)
    """Longest solve completion, in tokens (AZR: 8096)."""
    max_prompt_tokens: int = Field(4096, ge=16)
    """Prompts longer than this are redrawn or dropped (AZR: 5600 to 6144)."""
    vocabulary_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the tokens that tasks are made of which a step's proposals must do without, drawn anew each step; tokens
    that at least half of the tasks have are spared. 0: none (AZR). Against proposers that settle on a few texts, after
    arXiv 2604.03472."""
    gate: Literal["none", "boundary"] = "none"
    """boundary: the solver learns only from tasks that no answer had solved before this step (boundary gating, arXiv
    2606.15455: one success nearly saturates a problem's pass@k for large k). none: from all (AZR)."""
    shuffle_rewards: bool = False
    """Control: permutes rewards inside each role and task type, so that nothing can be learned."""
    request_lines: tuple[int, ...] = ()
    """Numbers of statement lines asked of proposals, drawn uniformly; empty asks for none. A means against
    one-liners."""
    request_parameters: tuple[str, ...] = ()
    """Parameter lists such as "text: str, n: int", one drawn for each propose prompt, whose program then begins with
    it; empty: the model writes its own (AZR). A means against tasks that shrink to numbers, for the prompt styles
    few-shot and direct."""


class BufferConfig(Section):
    """The task buffers: where examples and tasks to solve come from."""

    seeds: str = "zero"
    """Seed tasks: "zero" (AZR's identity triplet), "builtin" (the package's own), "tiny", or a JSON Lines file."""
    seed_tasks: int = Field(256, ge=1)
    """At most this many seed tasks are read (AZR: 256)."""
    mix: Literal["max_new", "half_new", "uniform", "step"] = "max_new"
    """How tasks to solve are drawn: AZR's max_new fills with the newest first; half_new at most half; step by
    recency."""
    window: int = Field(1, ge=1)
    """Tasks admitted in this many last steps count as new (AZR: 1)."""
    replay: float = Field(0.0, ge=0, le=1)
    """Share of the tasks to solve that are drawn from those solved rarely so far: at least once, and in at most a
    quarter of the answers (buffer.rare). 0: none (AZR). Replay of mistakes: Code-A1, arXiv 2603.15611."""
    rare: float = Field(0.25, gt=0, lt=1)
    """Largest share of right answers of a task that buffer.replay draws."""
    memory: int = Field(0, ge=0)
    """The reward term memory compares a program with those of so many last tasks of each type; 0: none."""
    example_sampling: Literal["uniform", "recency"] = "uniform"
    """How examples for propose prompts are drawn (AZR: uniform; recency tended to collapse, paper D.3)."""
    keep: Literal["all", "non_one", "non_extremes"] = "all"
    """Which admitted tasks enter the buffer, by solve rate (AZR: all)."""
    cap: int = Field(16384, ge=1)
    """Tasks per task type (AZR: 16384)."""
    evict: Literal["newest", "oldest"] = "newest"
    """What goes when the buffer is full: the newest (AZR keeps the oldest) or the oldest."""


class OptimConfig(Section):
    """The optimiser."""

    lr: float = Field(1e-5, gt=0, le=1)
    """Learning rate of AdamW. AZR: 1e-6 for full parameters; LoRA needs about ten times that ("LoRA Without
    Regret")."""
    norm_lr: float = Field(0.0, ge=0, le=1)
    """Learning rate of the gains of the norm layers when all parameters are trained; 0: optim.lr (AZR). AdamW changes
    every number by about its learning rate. Gains are near 1 and matrix entries near 0.04, so at one rate the gains
    hardly change relative to their size, although the last norm's gains scale the logits."""
    freeze: bool = False
    """Control: true computes everything but moves nothing (a learning rate of zero)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW moment decay (AZR: veRL's default)."""
    adam_bits: Literal[32, 8] = 32
    """Bits of each of AdamW's moments. 8: a quarter of their memory, in blocks of 256 numbers with a scale each
    (arXiv 2110.02861), by bitsandbytes; parameters of fewer than 4,096 numbers keep 32 (AZR: 32)."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW weight decay (AZR master: 0)."""
    warmup_steps: int = Field(0, ge=0)
    """Optimiser steps over which the rate rises linearly (AZR: 0)."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest gradient norm (AZR: 1.0). A step with a non-finite norm is skipped and counted."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of a running mean of the trained weights, about the last 1 / (1 - decay) updates; 0: none (AZR).
    Validations and checkpoints then hold the mean, sampling and learning go on with the weights themselves. What every
    single update adds by chance cancels in it (arXiv 1803.05407)."""
    updates_per_step: int = Field(1, ge=1)
    """Optimiser steps per self-play step, each on an equal share of the rollouts (AZR: 1)."""
    micro_batch_tokens: int = Field(0, ge=0)
    """Tokens of one forward pass, padding included; 0: as many as the plan has room for, at most 16384. Smaller needs
    less memory; the gradient stays the same."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Recompute activations in the backward pass: half more time to train, much less memory. auto: when the plan needs
    it."""
    logits_chunk: int = Field(0, ge=0)
    """Positions whose logits over the vocabulary exist at once; 0: as many as make 2^26 logits, at most 1024."""
    check_memory: bool | Literal["auto"] = "auto"
    """Run the largest micro-batch forward and backward before the first step, so that a card that is too small says so
    at once. auto: on a card."""


class SamplerConfig(Section):
    """Text generation."""

    backend: Literal["auto", "transformers", "vllm", "server"] = "auto"
    """vllm: an engine in this process. server: vLLM's own, in another process or on another machine (sampler.url,
    started by minizero serve). auto: vllm where a CUDA card and vLLM are there, else transformers."""
    url: tuple[str, ...] = ()
    """Addresses of the servers, such as http://localhost:8000; several share the requests. A key is taken from the
    environment, VLLM_API_KEY, and never written down."""
    served_name: str = ""
    """The name under which the servers offer the model; empty: model.name."""
    adapter_dir: str = ""
    """A directory that this machine and the servers see under the same path, through which they get the adapter; empty:
    a temporary one, for servers on this machine."""
    patience_s: float = Field(600.0, ge=0)
    """Seconds without any server that answers, after which a run gives up."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature of trained rollouts and attempts (AZR: 1.0)."""
    max_rows: int = Field(256, ge=1)
    """Sequences decoded side by side."""
    max_cache_tokens: int = Field(0, ge=0)
    """Largest rows x length of the key-value cache in the transformers sampler; 0: no limit."""
    kv_gib: float = Field(0.0, ge=0)
    """Key-value cache of vLLM, GiB; 0: what the plan leaves of run.vram_gib (on a CPU: 1)."""
    release_kv: bool | Literal["auto"] = "auto"
    """Give vLLM's key-value cache back while the policy learns. auto: when too few sequences would fit otherwise (only
    on a card)."""
    kv_dtype: Literal["auto", "fp8"] = "auto"
    """fp8: vLLM's cache holds keys and values as 8-bit floats, twice as many tokens in a GiB, on cards of the RTX 40
    and 50 series, L4, H100 and H200. Rounding makes what is sampled from a little another policy, so loss.correction
    must be on. auto: the model's own type."""
    weights: Literal["auto", "fp8"] = "auto"
    """fp8: vLLM computes the layers' linear maps with 8-bit floats, at twice the speed, on the same cards and with
    loss.correction on; its weights are then a copy beside the trainer's. auto: the trainer's, or model.quantization."""
    share_weights: bool | Literal["auto"] = "auto"
    """Hold the base's weights once: the trainer's are views of vLLM's. auto: on a card with an unquantised base. (A CPU
    keeps a packed copy of its own, so nothing is saved there.)"""
    tolerance: float = Field(0.0, ge=0)
    """Largest mean difference, in nats, between the log-probabilities of sampler, trainer and the model's own forward
    pass, which are compared before the first step. 0: by compute type (float32 0.001, float16 0.05, bfloat16 0.1; twice
    that for a quantised base)."""
    self_test_every: int = Field(25, ge=0)
    """Steps between proofs that vLLM samples from the trainer's policy (one is always made at the start); 0: none."""

    @field_validator("url", mode="before")
    @classmethod
    def _without_v1(cls, value: Any) -> Any:
        return addresses(value)


class SandboxConfig(Section):
    """Limits of one program run. Defaults are far above what honest proposals need and below what hurts."""

    workers: int = Field(0, ge=0)
    """Jobs run side by side; 0: one per core, and one fewer beside a card, whose engine needs a core."""
    wall_s: float = Field(10.0, gt=0)
    """Wall-clock seconds per run (AZR: 10)."""
    cpu_s: float = Field(3.0, gt=0)
    """CPU seconds per run."""
    memory_mib: int = Field(512, ge=32)
    """Address space per run, MiB."""
    packages: tuple[str, ...] = ()
    """Installed packages that programs may import, such as numpy, which AZR's executor has. A process with numpy takes
    26 MiB instead of 8 and half a second to start, and a job in it about twice as long; other jobs do not. Results must
    still be plain values: x.tolist(), int(x)."""
    unsafe: bool = False
    """true: run model-written programs although this machine offers no real sandbox (macOS). Recorded in the
    manifest."""


class EvalConfig(Section):
    """Validation during a run: always before the first step and after the last."""

    every: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Also validate every N steps, so that the result is a curve; auto: eight times in a run; 0: only before and
    after."""
    tasks: str = "none"
    """Held-out tasks: "tiny" (shipped with the tiny model), "cruxeval" (a fixed subset of one half of its functions, as
    many outputs as inputs; eval.limit = 200 asks 100 + 100), "none", or a JSON Lines file: lines of a tasks.jsonl, or
    AZR's seed format."""
    split: Literal["validation", "heldout"] = "validation"
    """Which of the tiny model's sets, or which half of CRUXEval: choose settings on validation, report on heldout."""
    limit: int = Field(300, ge=1)
    """At most this many tasks per validation, the same ones each time."""
    samples: int = Field(4, ge=0)
    """Completions per task at temperature 1; one greedy completion is always taken."""
    kl_base_tokens: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Tokens of a step (prompts included) on which the KL to the base model is estimated, as policy/kl_base; 0: none.
    auto: 2,048 and at most a twentieth of the step's, where the base is at hand: with an adapter, which is switched off
    for it, or with loss.kl_weight."""


class RunConfig(Section):
    """The run itself."""

    name: str = ""
    """Last part of the run directory's name: letters, digits, dots, dashes and underscores."""
    dir: str = "runs"
    """Where run directories are made."""
    rng_seed: int = 0
    """Every random choice derives from this number."""
    threads: int = Field(0, ge=0)
    """CPU threads of torch; 0: what OMP_NUM_THREADS says, or all cores."""
    state_every: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Steps between rolling resume states (the last two are kept); a killed run loses what came after. auto: every step
    while a state is below 128 MiB; a larger one (LoRA on 3 B parameters: 0.7 GB) once in half an hour, which bounds
    what is lost. Ctrl-C always saves."""
    checkpoint_every: int = Field(50, ge=0)
    """Steps between kept checkpoints; 0: only the last."""
    rollouts_every: int = Field(1, ge=0)
    """Steps between written rollouts files; 0: none."""
    wandb: Literal["off", "online", "offline"] = "off"
    """Mirror metrics to Weights & Biases."""
    trackio: bool = False
    """Mirror metrics to trackio, a local dashboard with wandb's interface; by itself or beside wandb."""
    tensorboard: bool = False
    """Mirror metrics to TensorBoard's event files, RUN/tensorboard."""
    wandb_project: str = "minizero"
    """Project name at Weights & Biases and trackio."""
    vram_gib: float = Field(0.0, ge=0)
    """Memory of the card to use, GiB; 0: what is free of it at the start, less 1 GiB (on a CPU: three quarters of the
    machine's). Cache, micro-batches and recomputation follow from it where they are left open."""

    @field_validator("name")
    @classmethod
    def _is_one_name(cls, value: str) -> str:
        if (value and not re.fullmatch(r"[\w.-]+", value)) or set(value) == {"."}:
            raise ValueError(
                f"{value!r} is no name for a directory: letters, digits, dots, dashes and underscores only. "
                "Where run directories are made says run.dir"
            )
        return value


class Config(Section):
    """One run, completely described."""

    model: ModelConfig = ModelConfig()
    adapter: AdapterConfig = AdapterConfig()
    prompt: PromptConfig = PromptConfig()
    selfplay: SelfplayConfig = SelfplayConfig()
    buffer: BufferConfig = BufferConfig()
    composites: CompositesConfig = CompositesConfig()
    admission: AdmissionConfig = AdmissionConfig()
    reward: RewardConfig = RewardConfig()
    advantage: AdvantageConfig = AdvantageConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    sampler: SamplerConfig = SamplerConfig()
    sandbox: SandboxConfig = SandboxConfig()
    eval: EvalConfig = EvalConfig()
    run: RunConfig = RunConfig()
