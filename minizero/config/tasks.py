"""Settings of prompts, composites and admission: what is asked, what is built on, which proposals become tasks."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from minizero.config.base import Section


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# AZR's list (docs/algorithm.md 3.5), then what else reaches randomness, clocks, files, processes, the network, and
# the interpreter.
FORBIDDEN_MODULES = _words("""
    logging random multiprocessing pebble subprocess threading datetime time hashlib hmac bcrypt os sys calendar
    secrets uuid zoneinfo sched timeit locale
    io pathlib shutil tempfile glob fileinput mmap sqlite3 dbm shelve zipfile tarfile
    socket socketserver ssl select selectors http urllib ftplib smtplib requests
    asyncio concurrent signal pty fcntl resource posix platform getpass atexit
    ctypes gc inspect importlib builtins pickle marshal traceback tracemalloc weakref
    code codeop pdb cProfile profile runpy site sysconfig webbrowser tkinter
""")
FORBIDDEN_NAMES = _words("""
    eval exec compile open input __import__ __builtins__ __loader__ __spec__ __file__ globals locals vars
    getattr setattr delattr id hash breakpoint exit quit help
""")
FORBIDDEN_ATTRIBUTES = _words("""
    __subclasses__ __globals__ __builtins__ __code__ __closure__ __func__ __self__ __wrapped__ __bases__ __base__
    __mro__ mro __dict__ __getattribute__ __reduce__ __reduce_ex__ __loader__ __spec__ __import__ __traceback__ __hash__
    tb_frame tb_next f_back f_globals f_locals f_builtins f_code gi_frame gi_code cr_frame cr_code ag_frame ag_code
    __match_args__
""")


TAGGED = ("few-shot", "direct")  # prompt styles whose proposals stand between tags


class PromptConfig(Section):
    """What the model is shown and asked for."""

    style: Literal["auto", "r1", "chat", "few-shot", "direct", "compact"] = "auto"
    """r1 for base models (AZR's template), chat for instruct models, few-shot for models too small to keep another's
    form (plain text with worked examples), direct for the smallest (Python that breaks off where the answer stands, no
    examples, no reasoning), compact for the tiny model; auto: by the model, never few-shot or direct."""
    examples: int = Field(6, ge=0)
    """Earlier tasks shown in a propose prompt (AZR's K = 6). 0 is the paper's "without references"."""
    induction_inputs: int = Field(10, ge=2)
    """Inputs asked of an induction proposal (AZR: 10)."""
    induction_shown: int = Field(5, ge=1)
    """How many of those pairs the solver sees; the rest are hidden tests (AZR: half)."""
    think: Literal["on", "off", "auto"] = "auto"
    """chat, few-shot: whether the solver reasons before its answer, as in AZR; off begins the answer at once, which is
    far cheaper. on and off are passed to a chat template that has the choice (Qwen3's enable_thinking), auto leaves
    such a template at its default. compact: on and off are the first token of the answer, auto leaves the choice to the
    model. r1 always thinks."""
    stop_at_answer: bool = True
    """r1: end generation after </answer>. AZR goes on to the end-of-text token, but what follows is never graded."""

    def style_or(self, own: str) -> str:
        """The style that was asked for; auto: `own`, which suits the model."""
        return own if self.style == "auto" else self.style

    @model_validator(mode="after")
    def _thinks_as_its_style_can(self) -> PromptConfig:
        if problem := think_problem(self.style, self.think):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _some_pairs_stay_hidden(self) -> PromptConfig:
        if self.induction_shown >= self.induction_inputs:
            raise ValueError(
                f"induction_shown = {self.induction_shown} leaves no hidden pair of induction_inputs = "
                f"{self.induction_inputs}. Try induction_shown = {self.induction_inputs // 2}"
            )
        return self


def think_problem(style: str, think: str) -> str:
    """Why a prompt style cannot do what prompt.think asks, and what to do; "" when it can."""
    if style == "r1" and think == "off":
        return "think = off, but the style r1 always reasons before its answer. Try --set prompt.style=chat"
    if style == "direct" and think == "on":
        return "think = on, but the style direct answers at once. Try --set prompt.style=few-shot"
    return ""


def parameter_problems(style: str, asked: Sequence[str]) -> list[str]:
    """What is wrong with selfplay.request_parameters in this prompt style."""
    if asked and style not in TAGGED:
        return [
            f"selfplay.request_parameters with prompt.style = {style}: only {' and '.join(TAGGED)} begin the program. "
            "Try --set prompt.style=few-shot"
        ]
    return [
        f"selfplay.request_parameters: {each!r} is no list of parameters. Write it as text: str, n: int"
        for each in asked
        if not _is_parameter_list(each)
    ]


def _is_parameter_list(text: str) -> bool:
    if "#" in text or not text.isprintable():
        return False
    try:
        function = ast.parse(f"def f({text}): pass").body[0]
    except SyntaxError:
        return False
    return isinstance(function, ast.FunctionDef) and bool(function.args.args)


class CompositesScheduler(Section):
    """How the number and the chance of composites grow. Names and numbers of AZR's composite_scheduler."""

    enabled: bool = False
    """false: composites.n_max and composites.chance hold for the whole run."""
    update_num_programs_start: int = Field(101, ge=1)
    """From this step on n_max grows, first one interval later."""
    update_num_programs_interval: int = Field(50, ge=1)
    """Steps in which n_max grows by one."""
    num_programs_max: int = Field(3, ge=1)
    """Where n_max stops."""
    update_probability_start: int = Field(101, ge=1)
    """From this step on the chance grows, first one interval later."""
    update_probability_interval: int = Field(50, ge=1)
    """Steps in which the chance grows by the increment."""
    update_probability_max: float = Field(0.8, ge=0, le=1)
    """Where the chance stops."""
    update_probability_increment: float = Field(0.01, ge=0, le=1)
    """How much is added to the chance."""


class CompositesConfig(Section):
    """Composite functions: a propose prompt may hand over earlier programs as g_0, g_1, ... that the new one must call.
    Not for induction. Off in AZR's scripts: the paper saw proposers drift to f(x) = g(x)."""

    start_step: int = -1
    """First step with composites; 0 or less: never (AZR's composite_start_step: -1)."""
    chance: float = Field(0.5, ge=0, le=1)
    """Share of propose prompts that ask for composites (AZR's composite_chance: 0.5)."""
    n_min: int = Field(1, ge=1)
    """Fewest functions handed over (AZR's composite_function_n_min; no script sets it)."""
    n_max: int = Field(1, ge=1)
    """Most functions handed over (AZR's composite_function_n_max; no script sets it)."""
    scheduler: CompositesScheduler = CompositesScheduler()
    """Whether and how n_max and chance grow."""

    @model_validator(mode="after")
    def _in_order(self) -> CompositesConfig:
        if self.n_min > self.n_max:
            raise ValueError(f"n_min = {self.n_min} is above n_max = {self.n_max}. Try n_max = {self.n_min}")
        if self.scheduler.enabled and self.n_max > self.scheduler.num_programs_max:
            raise ValueError(
                f"n_max = {self.n_max} is above scheduler.num_programs_max = {self.scheduler.num_programs_max}, "
                f"where it stops growing. Try scheduler.num_programs_max = {self.n_max}"
            )
        return self


class AdmissionConfig(Section):
    """Which proposals become tasks. Every rejection has a named reason (tasks.parsing, tasks.admission)."""

    several_functions: bool = True
    """Helpers, nested functions and methods are allowed. false: as the official Qwen scripts."""
    entry: Literal["last", "first"] = "last"
    """Which function is renamed to f when none is called so: last is AZR's any_last, first its any_first."""
    input_from_call: bool = True
    """Without an input block, a call of f under the program gives the input, as chat asks for. AZR fails there."""
    remove_comments: bool = False
    """Drop comments and docstrings (AZR: only while seeding; in self-play the paper found a loss)."""
    remove_after_return: bool = False
    """Keep only imports, functions and classes at top level (AZR: only while seeding)."""
    remove_print: bool = False
    """Drop calls of print (AZR: off)."""
    reject_input_in_program: bool = False
    """Reject programs that hold tests or examples of themselves (AZR's reject_test_input_in_code, off)."""

    max_program_chars: int = Field(4000, ge=1)
    """Longest program, in characters: about 1,200 tokens, so that K = 6 examples fit AZR's prompt of 5,600."""
    max_input_chars: int = Field(1000, ge=1)
    """Longest input. Ours: an input that fills a screen teaches copying."""
    max_output_chars: int = Field(400, ge=1)
    """Longest output. AZR stores longer ones cut to 400 characters, which nobody can then answer; we reject them."""
    max_message_chars: int = Field(1000, ge=1)
    """Longest induction message. Ours."""

    forbidden_modules: tuple[str, ...] = FORBIDDEN_MODULES
    """Modules a proposal may not import. AZR's list, completed (see config/tasks.py)."""
    forbidden_names: tuple[str, ...] = FORBIDDEN_NAMES
    """Builtins a proposal may not use; a parameter or local variable may be called so. AZR looks at imports only."""
    forbidden_attributes: tuple[str, ...] = FORBIDDEN_ATTRIBUTES
    """Attributes a proposal may not use: ways into the interpreter. Ours."""

    leak: float = Field(0.0, ge=0, le=1)
    """Chance that a deduction proposal whose run was refused becomes a task all the same, without a known answer, so
    that no answer to it is right by the executor. A fault to study, after arXiv 2605.22217. 0: never (AZR)."""
    check_determinism: bool = True
    """Run each proposal in several processes with different hash seeds and addresses: two, or up to thirteen where a
    set may decide its result. false runs it once."""
    accept_none: bool = True
    """An output of None makes a task, as in AZR; a solve rate of 1 costs the proposer more surely than a rule."""
    vary_outputs: bool = True
    """Induction: reject when all outputs are equal (any constant function solves it). Ours; AZR accepts."""
    min_inputs: int = Field(6, ge=2)
    """Induction: so many of the inputs asked for must be there and run; others that raise are dropped. AZR: all ten,
    else the proposal is rejected. Ours, since a 1.5B model gets all ten right in few of its proposals."""
    distinct_inputs: bool = True
    """Induction: repeated inputs count once. Ours; AZR accepts ten times the same input."""
    exact_lines: bool = False
    """Where a number of lines was asked for, another number is a rejection. Ours, against one-liners (tiny model)."""
    duplicate_by: Literal["none", "program", "program_and_input", "modulo_constants"] = "program_and_input"
    """What makes a proposal a duplicate of a known task. AZR: none. Ours: the same program with the same input."""
