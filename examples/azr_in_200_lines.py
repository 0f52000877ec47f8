"""Absolute Zero in 200 lines: a small model invents Python tasks, solves them, and learns from both. No data.

    python examples/azr_in_200_lines.py                        # about two minutes on two cores; --help

This is Algorithm 1 of arXiv 2505.03335. A task is a program with an input and its output, and one of the three is asked
for: the output (deduction), an input (abduction), or the program (induction). The loop in `main` is the whole of it:

    propose    the model writes programs with inputs, after the example of earlier tasks
    validate   a sandbox runs them: what ends, and ends twice alike, is a task, and its output is the truth
    solve      the model tries every new task n times, and some earlier ones; the sandbox says what is right
    reward     an answer: 1 or -0.5. A task: 1 - share solved, but -0.5 if always or never solved, -1 if it is none
    normalise  rewards, by role and type of task (TRR++)
    learn      one step down the clipped policy-gradient loss

minizero lends the prompts and their parsing, the sandbox, the tiny model and its sampler; the learning is plain torch.
minizero/selfplay/step.py is the same step with all that is left out here.
"""
# N rollouts · K completion tokens of a micro-batch, B rows of T positions · V vocabulary

from __future__ import annotations

import argparse
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev, stdev

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from minizero import Sandbox, Task, TaskType, load_config, prompts, tiny
from minizero.learn.batching import Batch, collate_rows, plan_micro_batches, row_tokens, share_prompts
from minizero.models.load import load
from minizero.rollout.protocol import drain
from minizero.rollout.transformers import TransformersSampler
from minizero.tasks.admission import admit, check, task_key
from minizero.tasks.event_loop import run_all
from minizero.tasks.parsing import parse_answer, parse_proposal
from minizero.tasks.programs import program_key
from minizero.types import Completion, ParseError, Prompt, Request, Role, Rollout
from sandbox import Limits

TYPES = (TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION)
PROPOSALS, EARLIER, ANSWERS = 12, 16, 8  # of each type in a step: proposals, earlier tasks to solve; answers to a task
LR, GAIN_LR = 5e-5, 4e-3  # AdamW moves all numbers alike, but the gains of the norm layers are thirty times as large
PROPOSE_WEIGHT = 0.1  # proposals are few and long: at full weight their noise moves the solver more than its answers
DECAY = 0.9  # of the running mean of the weights, which is judged: what every update adds by chance cancels in it
CONFIG = load_config("tiny")  # what a program may import, how long texts may be, how many inputs an induction has
STYLE = "compact"  # the words of the prompts that the tiny model was trained on


@dataclass
class Proposed:
    """What came of one proposal. `p` is the share of right answers, None for what is no task or a known one."""

    type: TaskType
    completion: Completion
    task: Task | None
    p: float | None = None


def write(sampler: TransformersSampler, asked: Sequence[Prompt], n: int, longest: int, rng: random.Random) -> list[list[Completion]]:
    """n completions of each prompt at temperature 1, of at most `longest` tokens."""
    for place, prompt in enumerate(asked):
        sampler.submit(Request(str(place), prompt, longest, rng.getrandbits(62), n=n))
    written: list[list[Completion]] = [[] for _ in asked]
    for completion in drain(sampler):
        written[int(completion.request_id)].append(completion)
    return written


def propose(sampler: TransformersSampler, box: Sandbox, buffer: dict[TaskType, list[Task]], held_out: set[str], rng: random.Random) -> list[Proposed]:
    """Ask for new tasks of every type, and run what is written."""
    asked: list[tuple[TaskType, list[Task], int, Prompt]] = []
    for kind in [kind for kind in TYPES for _ in range(PROPOSALS)]:
        lines = rng.randint(1, 4)  # a length asked for keeps the proposer off one-liners
        if kind is TaskType.INDUCTION:  # is about a given program
            examples = [rng.choice(buffer[TaskType.DEDUCTION] + buffer[TaskType.ABDUCTION])]
        else:
            examples = rng.sample(buffer[kind], CONFIG.prompt.examples)
        asked.append((kind, examples, lines, prompts.propose(STYLE, kind, examples, settings=CONFIG.prompt, lines=lines)))
    written = [one for (one,) in write(sampler, [prompt for *_, prompt in asked], 1, CONFIG.selfplay.propose_max_tokens, rng)]

    async def validate(kind: TaskType, examples: list[Task], lines: int, prompt: Prompt, text: str) -> Task | None:
        program = examples[0].program if kind is TaskType.INDUCTION else None
        inputs, shown = CONFIG.prompt.induction_inputs, CONFIG.prompt.induction_shown
        proposal = parse_proposal(kind, prompt.prefill + text, style=STYLE, settings=CONFIG.admission, program=program, inputs=inputs)
        if isinstance(proposal, ParseError):
            return None
        task = await admit(proposal, box, CONFIG.admission, step=1, inputs=inputs, shown=shown, lines=lines, held_out=held_out)
        return task if isinstance(task, Task) else None  # else why it was rejected

    tasks = run_all(validate(*one, completion.text) for one, completion in zip(asked, written, strict=True))
    return [Proposed(kind, one, task) for (kind, *_), one, task in zip(asked, written, tasks, strict=True)]


def solve(sampler: TransformersSampler, box: Sandbox, tasks: Sequence[Task], n: int, rng: random.Random) -> list[list[tuple[Completion, bool]]]:
    """n answers to each task, and whether each is right. What is expected never enters the sandbox."""
    asked = [prompts.solve(STYLE, task, settings=CONFIG.prompt) for task in tasks]
    written = write(sampler, asked, n, CONFIG.selfplay.solve_max_tokens, rng)

    async def judge(task: Task, prompt: Prompt, text: str) -> bool:
        answer = parse_answer(task.type, prompt.prefill + text, style=STYLE)
        return (await check(task, answer, box, CONFIG.admission)).correct

    flat = [(task, prompt, one.text) for task, prompt, some in zip(tasks, asked, written, strict=True) for one in some]
    right = iter(run_all(judge(*one) for one in flat))
    return [[(one, next(right)) for one in some] for some in written]


def reward_proposal(proposed: Proposed) -> float:
    """1 - p for a new task that is sometimes solved (learnability, Equation 4); -0.5 for other tasks, -1 for none."""
    if proposed.task is None:
        return -1.0
    return 1 - proposed.p if proposed.p is not None and 0 < proposed.p < 1 else -0.5


def trrpp(rollouts: Sequence[Rollout]) -> torch.Tensor:
    """A[N] = (R - mean) / deviation over the rollouts of the same role and type (Equation 8)."""
    groups = defaultdict(list)
    for r in rollouts:
        groups[r.role, r.task_type].append(r.reward)
    scale = {key: (fmean(rewards), pstdev(rewards) + 1e-6) for key, rewards in groups.items()}
    return torch.tensor([(r.reward - mean) / deviation for r in rollouts for mean, deviation in [scale[r.role, r.task_type]]])


def micro_batches(rollouts: Sequence[Rollout], tokens: int = 2048) -> Iterable[Batch]:
    """Answers to the same prompt share a row, in which none sees the others."""
    rows = share_prompts(rollouts, range(len(rollouts)), tokens)
    for part in plan_micro_batches([row_tokens(rollouts, row) for row in rows], tokens):
        yield collate_rows(rollouts, [rows[place] for place in part], 0)


def learn(model: torch.nn.Module, optimizer: torch.optim.Optimizer, rollouts: Sequence[Rollout]) -> None:
    """One step down the clipped loss -min(r A, clip(r, 0.8, 1.2) A) of PPO, every (role, type) weighing the same."""
    advantages = trrpp(rollouts)
    tokens = Counter()
    for r in rollouts:
        tokens[r.role, r.task_type] += len(r.completion.ids)
    share = {Role.PROPOSE: PROPOSE_WEIGHT, Role.SOLVE: 1.0}
    weights = torch.tensor([share[r.role] / tokens[r.role, r.task_type] / len(tokens) for r in rollouts])
    for batch in micro_batches(rollouts):
        hidden = model.model(input_ids=batch.input_ids, attention_mask=batch.mask, position_ids=batch.positions)[0]
        logits = model.lm_head(hidden.flatten(0, 1)[batch.select])  # [K, V] that predict the completions' tokens
        log_probs = logits.log_softmax(-1).gather(1, batch.targets[:, None])[:, 0]
        ratio = (log_probs - batch.sampled).exp()
        A, weight = advantages[batch.index][batch.row], weights[batch.index][batch.row]  # [K] each
        loss = -torch.minimum(ratio * A, ratio.clamp(0.8, 1.2) * A)
        (weight * loss).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def main(steps: int, held_out_tasks: int, seed: int) -> None:
    torch.set_num_threads(1)  # the matrices are too small to share, and the sandbox has use for the other core
    loaded, rng = load(CONFIG.model, STYLE), random.Random(seed)
    model, sampler = loaded.model, TransformersSampler(loaded.model, loaded.tokenizer)
    mean_model = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    gains, matrices = ([p for p in model.parameters() if (p.ndim == 1) is is_gain] for is_gain in (True, False))
    optimizer = torch.optim.AdamW([{"params": gains, "lr": GAIN_LR}, {"params": matrices, "lr": LR}], weight_decay=0)
    buffer = {kind: [task for task in tiny.load("seeds") if task.type is kind] for kind in TYPES}
    seen = {task_key(task, "program") for kind in TYPES for task in buffer[kind]}
    held_out = {program_key(task.program) for name in ("validation", "heldout") for task in tiny.load(name)}
    examination = tiny.load(SPLIT)[:held_out_tasks]

    with Sandbox(workers=2, limits=Limits(cpu_s=0.5, wall_s=4)) as box:

        def examine(judged: torch.nn.Module) -> list[float]:
            """Share of right answers to each held-out task, at temperature 1; the same dice each time."""
            answers = solve(TransformersSampler(judged, loaded.tokenizer), box, examination, 4, random.Random(0))
            return [fmean(right for _, right in some) for some in answers]

        started = time.monotonic()
        before = examine(model)
        print(f"{held_out_tasks} held-out tasks: {fmean(before):.1%} of the answers are right")
        for step in range(1, steps + 1):
            proposed = propose(sampler, box, buffer, held_out, rng)
            new: list[Proposed] = []
            for one in proposed:
                if one.task and (key := task_key(one.task, "program")) not in seen:
                    seen.add(key)
                    new.append(one)
            earlier = [task for kind in TYPES for task in rng.sample(buffer[kind], EARLIER)]
            tasks = [*(one.task for one in new), *earlier]
            answers = solve(sampler, box, tasks, ANSWERS, rng)
            for one, some in zip(new, answers, strict=False):
                one.p = fmean(right for _, right in some)
            rollouts = [Rollout(Role.PROPOSE, one.type, "", one.completion, reward_proposal(one), {}) for one in proposed]
            rollouts += [
                Rollout(Role.SOLVE, task.type, "", completion, 1.0 if right else -0.5, {})
                for task, some in zip(tasks, answers, strict=True)
                for completion, right in some
            ]
            learn(model, optimizer, rollouts)
            mean_model.update_parameters(model)
            for one in new:
                if 0 < one.p < 1:
                    buffer[one.type].append(one.task)
            HOOK(step, locals())
            print(f"step {step:2d}: {len(new)} new tasks of {len(proposed)} proposals, {fmean(r.reward > 0 for r in rollouts if r.role == 'solve'):.0%} solved {time.monotonic()-started:.0f} s, {time.process_time():.0f} cpu s")
        after = examine(mean_model.module)
    gain = [b - a for a, b in zip(before, after, strict=True)]
    print(f"after: {fmean(after):.1%}: {100*fmean(gain):+.1f} +- {196*stdev(gain)/len(gain)**.5:.1f} points")


SPLIT = "heldout"
HOOK = lambda step, names: None
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--held-out-tasks", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
