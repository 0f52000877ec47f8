"""Two kinds of zygotes for one list of modules: small ones for most programs, full ones for those that ask for more.

Nobody must be able to tell which one a program ran in, but by the clock.
"""

from typing import Any

import pytest

from sandbox import Job, Limits, Sandbox, Status, host
from sandbox.modules import AT_HAND, TRAINING, needs_more

HIDDEN_NAME = "def f(x):\n    return str(__import__('deci' + 'mal').Decimal(x) / 3)"
CAUGHT = """
def f(x):
    try:
        module = __import__('fract' + 'ions')
    except BaseException:
        return 'not there'
    return str(module.Fraction(x, 3))
"""


def small(box: Sandbox) -> bool:
    """Whether only small zygotes have been started."""
    return all(at_hand for _, at_hand, _ in box._pools)


def test_what_is_at_hand_is_a_part_of_what_is_allowed() -> None:
    assert AT_HAND < TRAINING


@pytest.mark.parametrize("name", sorted({name.partition(".")[0] for name in TRAINING}))
def test_a_program_that_names_a_module_starts_where_it_is(name: str) -> None:
    at_hand = name in {other.partition(".")[0] for other in AT_HAND}
    assert needs_more(f"import {name} as m\ndef f(x): return x", ()) is not at_hand
    assert needs_more(f"def f(x): return {name}_x", ()) is False


def test_a_program_that_names_a_package_starts_where_it_is() -> None:
    assert needs_more("import numpy as np", ("numpy",))


def test_most_programs_need_no_full_zygote() -> None:
    with Sandbox(workers=1) as box:
        assert box.run("import math, collections\ndef f(x): return math.isqrt(x)", "49").value == 7
        assert small(box)
        assert box.run("import decimal\ndef f(x): return str(decimal.Decimal(x))", "2").value == "2"
        assert not small(box)


@pytest.mark.parametrize(
    ("program", "args", "value"),
    [
        (HIDDEN_NAME, "1", "0.3333333333333333333333333333"),
        (CAUGHT, "1", "1/3"),
        ("def f(x): return x.encode('cp437')", "'é'", b"\x82"),
        ("def f(x): return str(x, 'shift' + '_jis')", "b'\\x82\\xa0'", "あ"),
    ],
)
def test_a_program_that_asks_late_runs_again_where_the_module_is(program: str, args: str, value: object) -> None:
    with Sandbox(workers=1) as box:
        result = box.run(program, args)
        assert (result.status, result.value) == (Status.OK, value)
        assert not small(box)
        assert box.stats == {"jobs": 1, "ok": 1}, "one job, whatever happened behind it"


def test_a_batch_moves_on_as_a_whole() -> None:
    late = "def f(x):\n    return str(__import__('deci' + 'mal').Decimal(x)) if x == 2 else x"
    with Sandbox(workers=1) as box:
        assert [result.value for result in box.run_many(late, ["1", "2", "3"])] == [1, "2", 3]
        assert [result.value for result in box.run_many("def f(x): return x", ["1", "2", "3"])] == [1, 2, 3]


def test_a_script_moves_on() -> None:
    with Sandbox(workers=1) as box:
        script = "print(1, end='')\nprint(__import__('deci' + 'mal').Decimal(input()))"
        assert box.run(Job(script, stdin="2.50")).value == "12.50\n"
        assert box.run(Job("print(input())", stdin="a")).value == "a\n"


FORGED = """
import sys
def f(x):
    frame = sys._getframe()
    while frame.f_code.co_name != 'run_task':
        frame = frame.f_back
    names, own = frame.f_globals, frame.f_locals
    def claim(*parts):
        body = names['codec'].encode(parts)
        names['frames'].write_all(own['channel'], names['frames'].claim(own['nonce'], body))
    if x == FIRST:
        claim('elsewhere', '', '', b'', '', '')
        for _ in range(MORE):
            claim('ok', '', '', names['codec'].encode('forged'), '', '')
    END
    return x
"""


@pytest.mark.parametrize("end", ["pass", "names['os']._exit(0)", "while x: pass"])
@pytest.mark.parametrize(("first", "more"), [(1, 0), (1, 1), (1, 2), (1, 9), (3, 0), (3, 1), (4, 2)])
def test_a_batch_that_forges_its_leave_leaves_nothing(box: Sandbox, first: int, more: int, end: str) -> None:
    forged = FORGED.replace("FIRST", str(first)).replace("MORE", str(more)).replace("END", end)
    assert len(box.run_many(forged, ["1", "2", "3", "4"], limits=Limits(cpu_s=0.2, wall_s=20))) == 4
    for number in range(5):
        assert box.run("def f(x): return x + 1", str(number)).value == number + 1


def test_a_failure_here_amid_a_batch_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fail = host.result_of, [True]

    def result_of(*arguments: Any) -> Any:
        if fail and fail.pop():
            raise RuntimeError("a mistake")
        return real(*arguments)

    with Sandbox(workers=1) as box:
        monkeypatch.setattr(host, "result_of", result_of)
        with pytest.raises(RuntimeError, match="a mistake"):
            box.run_many("def f(x): return x", ["1", "2", "3"])
        assert [box.run("def f(x): return x + 1", str(n)).value for n in range(6)] == [1, 2, 3, 4, 5, 6]


def test_a_job_that_cannot_move_on_fails_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(order: Any) -> None:
        raise RuntimeError("can't start new thread")

    with Sandbox(workers=1) as box:
        for pool in box._pools.values():
            monkeypatch.setattr(pool, "move_on", no_thread)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="new thread"):
                box.submit(Job(HIDDEN_NAME, args="1")).result(timeout=20)


def test_whether_a_program_is_deterministic_does_not_depend_on_the_zygote() -> None:
    with Sandbox(workers=1) as box:
        assert box.check_deterministic(Job(HIDDEN_NAME, args="1")).agrees
        assert not box.check_deterministic(Job("import random\ndef f(x): return random.random()", args="1")).agrees


def test_a_denied_module_is_denied_at_once() -> None:
    with Sandbox(workers=1) as box:
        result = box.run("import os\ndef f(x): return x", "1")
        assert result.status is Status.DENIED
        assert "'os'" in result.message
        assert small(box)
