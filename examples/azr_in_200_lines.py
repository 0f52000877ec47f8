"""Absolute Zero in 200 lines: a small model invents Python tasks, solves them, and learns from both. No data.

    python examples/azr_in_200_lines.py             # about two minutes on two cores

Algorithm 1 of arXiv 2505.03335. A task is a program with an input and its output, and one of the three is asked
for: the output (deduction), an input (abduction), or the program (induction). `step` is the whole of it:

    propose    the model writes programs with inputs, after the example of earlier tasks
    validate   a sandbox runs them: what ends, and ends twice alike, is a task, and its output is the truth
    solve      the model tries every new task several times, and some earlier ones; the sandbox tells what is right
    reward     an answer: 1 or -0.5. A proposal: 1 - share solved, but -0.5 if that is 0 or 1, and -1 if it is no task
    normalise  the rewards of each role and type of task apart (TRR++)
    learn      one step down the clipped policy-gradient loss

minizero lends prompts and parsing, the sandbox, the tiny model and its sampler; what learns is plain torch.
minizero/selfplay/step.py is the same step with all that is left out here.
"""
# N rollouts · K completion tokens of a micro-batch, B rows of T positions · V vocabulary, H hidden width

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean, pstdev, stdev

import torch
import tyro

from minizero import Sandbox, Task, TaskType, load_config, prompts, tiny
from minizero.learn.batching import collate_rows, plan_micro_batches, row_tokens, share_prompts
from minizero.models.load import load
from minizero.rollout.protocol import drain
from minizero.rollout.transformers import TransformersSampler
from minizero.tasks.admission import admit, check, task_key
from minizero.tasks.event_loop import run_all
from minizero.tasks.parsing import parse_answer, parse_proposal
from minizero.tasks.programs import program_key
from minizero.types import Completion, ParseError, Prompt, Request, Role, Rollout

TYPES = DEDUCTION, ABDUCTION, INDUCTION = TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION
PROPOSALS, EARLIER, ANSWERS = 8, 4, 8  # proposals and earlier tasks, of each type in a step; answers to each task
LR, GAIN_LR = 4.5e-4, 6e-3  # AdamW moves every number alike, and the gains of norm layers are far larger than the rest
WEIGHT = {Role.PROPOSE: 0.1, Role.SOLVE: 1.0}  # proposals are few and long: at full weight their noise moves the solver
CONFIG = load_config("tiny")  # which imports are forbidden, how long texts may be, how many inputs an induction has
STYLE = "compact"  # the prompts that the tiny model was trained on


class SelfPlay:
    """One model in both roles, the sandbox that judges it, the buffer of tasks, and the dice."""

    def __init__(self, box: Sandbox, seed: int) -> None:
        loaded, self.box, self.rng = load(CONFIG.model, STYLE), box, random.Random(seed)
        self.model, self.sampler = loaded.model, TransformersSampler(loaded.model, loaded.tokenizer)
        gains, matrices = ([p for p in self.model.parameters() if (p.ndim < 2) is is_gain] for is_gain in (True, False))
        rates = [{"params": gains, "lr": GAIN_LR}, {"params": matrices, "lr": LR}]
        self.optimizer = torch.optim.AdamW(rates, weight_decay=0.0)
        self.buffer = {kind: [task for task in tiny.load("seeds") if task.type is kind] for kind in TYPES}
        self.seen = {task_key(task, "program") for kind in TYPES for task in self.buffer[kind]}
        self.held_out = {program_key(task.program) for name in ("validation", "heldout") for task in tiny.load(name)}

    def step(self) -> str:
        """One step of the algorithm; in words, how it went."""
        proposals, new = self.propose(), dict[int, Task]()  # place among the proposals -> a task that nobody knew
        for place, (_, _, task) in enumerate(proposals):
            if task and (key := task_key(task, "program")) not in self.seen:
                self.seen.add(key)
                new[place] = task
        tasks = [*new.values(), *(task for kind in TYPES for task in self.rng.sample(self.buffer[kind], EARLIER))]
        answers = self.solve(tasks, ANSWERS)
        shares = {place: fmean(right for _, right in mine) for place, mine in zip(new, answers, strict=False)}
        for place, task in new.items():
            if 0 < shares[place] < 1:  # what all answers solve, or none, would teach nothing later either
                self.buffer[task.type].append(task)
        rollouts = [
            Rollout(Role.PROPOSE, kind, "", text, reward_proposal(task, shares.get(place)), {})
            for place, (kind, text, task) in enumerate(proposals)
        ]
        for task, mine in zip(tasks, answers, strict=True):
            rollouts += [Rollout(Role.SOLVE, task.type, "", text, 1.0 if right else -0.5, {}) for text, right in mine]
        self.learn(rollouts)
        solved = fmean(right for mine in answers for _, right in mine)
        return f"{len(new)} of {len(proposals)} proposals are new tasks, {solved:.0%} of the answers right"

    def propose(self) -> list[tuple[TaskType, Completion, Task | None]]:
        """Ask for tasks of every type, and run what is written: (type, what was written, the task that it makes)."""
        asked: list[tuple[TaskType, list[Task], int, Prompt]] = []
        for kind in [kind for kind in TYPES for _ in range(PROPOSALS)]:
            if kind is INDUCTION:  # inputs and a message for a program that is there
                examples = [self.rng.choice(self.buffer[DEDUCTION] + self.buffer[ABDUCTION])]
            else:
                examples = self.rng.sample(self.buffer[kind], CONFIG.prompt.examples)
            lines = self.rng.randint(1, 4)  # a length asked for keeps the proposer off one-liners
            prompt = prompts.propose(STYLE, kind, examples, settings=CONFIG.prompt, lines=lines)
            asked.append((kind, examples, lines, prompt))
        written = self.write([prompt for *_, prompt in asked], 1, CONFIG.selfplay.propose_max_tokens)
        texts = [one for (one,) in written]
        tasks = run_all(self.validate(*one, text.text) for one, text in zip(asked, texts, strict=True))
        return [(kind, text, task) for (kind, *_), text, task in zip(asked, texts, tasks, strict=True)]

    async def validate(self, kind: TaskType, given: list[Task], lines: int, prompt: Prompt, text: str) -> Task | None:
        """The task that a text makes; None when it cannot be read, does not run, or is not deterministic."""
        rules, inputs, text = CONFIG.admission, CONFIG.prompt.induction_inputs, prompt.prefill + text
        program = given[0].program if kind is INDUCTION else None
        proposal = parse_proposal(kind, text, style=STYLE, settings=rules, program=program, inputs=inputs)
        if isinstance(proposal, ParseError) or program_key(proposal.program) in self.held_out:
            return None
        task = await admit(proposal, self.box, rules, step=1, inputs=inputs, shown=inputs // 2, lines=lines)
        return task if isinstance(task, Task) else None

    def solve(self, tasks: Sequence[Task], n: int) -> list[list[tuple[Completion, bool]]]:
        """n answers to each task, and whether each is right. What is expected never enters the sandbox."""
        asked = [prompts.solve(STYLE, task, settings=CONFIG.prompt) for task in tasks]
        written = self.write(asked, n, CONFIG.selfplay.solve_max_tokens)

        async def is_right(task: Task, prompt: Prompt, text: str) -> bool:
            answer = parse_answer(task.type, prompt.prefill + text, style=STYLE)
            return (await check(task, answer, self.box, CONFIG.admission)).correct

        rows = zip(tasks, asked, written, strict=True)
        right = iter(run_all(is_right(task, prompt, one.text) for task, prompt, mine in rows for one in mine))
        return [[(one, next(right)) for one in mine] for mine in written]

    def write(self, asked: Sequence[Prompt], n: int, max_tokens: int) -> list[list[Completion]]:
        """n completions of each prompt at temperature 1, with the log-probability of every token."""
        for place, prompt in enumerate(asked):
            self.sampler.submit(Request(str(place), prompt, max_tokens, self.rng.getrandbits(62), n=n))
        written: list[list[Completion]] = [[] for _ in asked]
        for completion in drain(self.sampler):
            written[int(completion.request_id)].append(completion)
        return written

    def learn(self, rollouts: Sequence[Rollout]) -> None:
        """One step down -min(r A, clip(r, 0.8, 1.2) A), r = new / old probability; every (role, type) weighs alike."""
        tokens: Counter[tuple[Role, TaskType]] = Counter()
        for r in rollouts:
            tokens[r.role, r.task_type] += len(r.completion.ids)
        weights = torch.tensor([WEIGHT[r.role] / tokens[r.role, r.task_type] / len(tokens) for r in rollouts])
        advantages = trrpp(rollouts)
        # Answers to one prompt share a row, so that it is read once; the mask keeps them from seeing each other.
        rows = share_prompts(rollouts, range(len(rollouts)), 2048)
        for part in plan_micro_batches([row_tokens(rollouts, row) for row in rows], 2048):
            batch = collate_rows(rollouts, [rows[place] for place in part], pad_id=0)
            seen = {"attention_mask": batch.mask, "position_ids": batch.positions}
            hidden = self.model.model(batch.input_ids, **seen).last_hidden_state.flatten(0, 1)  # [B T, H]
            log_probs = self.model.lm_head(hidden[batch.select]).log_softmax(-1)  # [K, V], before each token
            ratio = (log_probs.gather(1, batch.targets[:, None])[:, 0] - batch.sampled).exp()  # [K]
            advantage, weight = (values[batch.index][batch.row] for values in (advantages, weights))
            loss = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
            (weight * loss).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def reward_proposal(task: Task | None, p: float | None) -> float:
    """Learnability 1 - p (Equation 4); -0.5 where p is 0 or 1, or None because the task is known; -1 for no task."""
    if task is None:
        return -1.0
    return 1 - p if p is not None and 0 < p < 1 else -0.5


def trrpp(rollouts: Sequence[Rollout]) -> torch.Tensor:
    """A[N] = (R - mean) / deviation, both over the rollouts of the same role and type of task (Equation 8)."""
    groups = defaultdict(list)
    for r in rollouts:
        groups[r.role, r.task_type].append(r.reward)
    scale = {key: (fmean(rewards), pstdev(rewards) + 1e-6) for key, rewards in groups.items()}
    pairs = [(r.reward, *scale[r.role, r.task_type]) for r in rollouts]
    return torch.tensor([(reward - mean) / deviation for reward, mean, deviation in pairs])


def main(steps: int = 12, tasks: int = 120, seed: int = 0) -> None:
    """Train for some steps; ask so many held-out tasks before and after."""
    torch.set_num_threads(1)  # the matrices are too small to share, and the sandbox has use for the other core
    started, held_out = time.monotonic(), tiny.load("heldout")[:tasks]
    with Sandbox() as box:
        play = SelfPlay(box, seed)

        def examine() -> list[float]:
            """Share of right answers to each held-out task: 4 samples at temperature 1."""
            return [fmean(right for _, right in answers) for answers in play.solve(held_out, 4)]

        before = examine()
        print(f"before: {fmean(before):.1%} of the answers to {tasks} held-out tasks are right")
        for number in range(1, steps + 1):
            words = play.step()
            print(f"step {number:2}: {words}, {time.monotonic() - started:.0f} s", flush=True)
        after = examine()
    change = [100 * (late - early) for early, late in zip(before, after, strict=True)]
    noise = 1.96 * stdev(change) / len(change) ** 0.5
    print(f"after:  {fmean(after):.1%}, {fmean(change):+.1f} points (95 % interval +-{noise:.1f})")


if __name__ == "__main__":
    tyro.cli(main)
