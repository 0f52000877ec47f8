"""The exported tasks as `verifiers` (0.4, its API v1) takes them: a Taskset, a Task that rewards, and an Env.

Reading order: MiniZeroData, MiniZeroTask, MiniZeroTaskset, MiniZeroEnv, load. A task's data holds its prompt and
its id, not its answer: what is expected stays with the verifier. The agent's harness is `null`, a plain exchange of
messages: `verifiers`' default one would give the model a shell.
This file is copied into every exported package, where the data lie beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import verifiers.v1 as vf

from minizero.rewards.verifier import Verifier

Kind = Literal["deduction", "abduction", "induction", "error"]


@cache
def verifier(workers: int, unsafe: bool) -> Verifier:
    """One for each process and setting: it holds a sandbox."""
    return Verifier.read(Path(__file__).parent / "data", workers=workers, unsafe=unsafe)


class MiniZeroData(vf.TaskData):
    """A row: `id` names the task to the verifier."""

    kind: Kind
    """deduction, abduction, induction or error."""


class MiniZeroTaskConfig(vf.TaskConfig):
    """How answers are judged."""

    reward: Literal["run", "correct"] = "run"
    """run: what minizero's run paid (its [reward.solve]). correct: 1 for a right answer in any form, else 0."""
    workers: int = 0
    """Programs of answers that run at a time in each process; 0: one for each core."""
    unsafe: bool = False
    """Judge although this machine offers no real sandbox: a program of the model can then do what this process can."""


class MiniZeroTask(vf.Task[MiniZeroData, vf.State, MiniZeroTaskConfig]):
    """One task. The last message of the model is its answer."""

    @property
    def key(self) -> str:
        """The task's own id, which depends on its content alone."""
        return str(self.data.id)

    @vf.reward(weight=1.0)
    async def answer(self, trace: vf.Trace) -> float:
        """What the answer earns; whether it is right is recorded as the metric `correct`."""
        judged = await asyncio.to_thread(self._verifier.score, str(self.data.id), reply(trace), cut=is_cut(trace))
        trace.record_metric("correct", float(judged.correct))
        trace.info["minizero"] = {"verdict": judged.verdict, "rule": judged.rule}
        return judged.reward if self.config.reward == "run" else float(judged.correct)

    async def validate(self, runtime: vf.Runtime) -> bool:
        """Whether the task's own answer is right here: `vf-validate`."""
        return await asyncio.to_thread(self._verifier.holds, str(self.data.id))

    @property
    def _verifier(self) -> Verifier:
        return verifier(self.config.workers, self.config.unsafe)


def reply(trace: vf.Trace) -> str:
    """The model's last message as it wrote it; reasoning that the server took out is put back before it."""
    said = trace.assistant_messages[-1] if trace.assistant_messages else None
    if said is None:
        return ""
    content = said.content or ""
    return f"<think>{said.reasoning_content}</think>\n{content}" if said.reasoning_content else content


def is_cut(trace: vf.Trace) -> bool:
    """Whether the token limit ended the answer."""
    return bool(trace.is_truncated)


class MiniZeroConfig(vf.TasksetConfig):
    """Which tasks are loaded."""

    types: tuple[Kind, ...] = ()
    """Only tasks of these types; empty: all."""
    task: MiniZeroTaskConfig = MiniZeroTaskConfig()


class MiniZeroTaskset(vf.Taskset[MiniZeroTask, MiniZeroConfig]):
    """The tasks, in the order in which they were exported."""

    def load(self) -> Iterable[MiniZeroTask]:
        questions = verifier(self.config.task.workers, self.config.task.unsafe).questions
        for id, question in questions.items():
            kind = question.task.type.value
            if not self.config.types or kind in self.config.types:
                system = question.system or None
                data = MiniZeroData(id=id, kind=kind, prompt=question.prompt, system_prompt=system)
                yield MiniZeroTask(data, self.config.task)


# Nothing of the model runs at the agent, so it needs no box of its own; the prompt is ours and nothing is added to it.
AGENT = {"harness": {"id": "null"}, "runtime": {"type": "subprocess"}, "max_turns": 1, "network_notice": False}


class MiniZeroEnvConfig(vf.EnvConfig):
    """One agent, which answers in one message and runs nothing."""

    agent: vf.AgentConfig = vf.AgentConfig.model_validate(AGENT)


class MiniZeroEnv(vf.Env[MiniZeroEnvConfig]):
    """One question, one answer."""

    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        await agents.agent.run(task)


def load(package: str, settings: Mapping[str, Any]) -> Any:
    """The environment of the package of this name; settings: of MiniZeroEnvConfig."""
    taskset = {**dict(settings.get("taskset", {})), "id": package}
    return vf.load_environment(vf.resolve_env_config({**settings, "taskset": taskset}))
