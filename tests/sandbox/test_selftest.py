"""The self-test bites: with one line of the sandbox spoiled, it refuses to run untrusted code and says why.

Reading order: the sabotage, each a copy of the package with one replacement; then a machine without seccomp, and unsafe.
"""

# A spoiled line reads best on one line.
# ruff: noqa: E501

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import Sandbox, libc, seccomp, selftest

PACKAGE = Path(__file__).parents[2] / "sandbox"

SABOTAGE = {
    "a filter that refuses nothing": ("seccomp.py", "0x00050000 | errno.EPERM", "0x7FFF0000", "seccomp: a job could"),
    "jumps that are off by one": ("seccomp.py", "place[target] - number - 1", "place[target] - number", ""),
    "a filter that is never installed": ("seccomp.py", 'libc.prctl(libc.PR_SET_SECCOMP, _MODE_FILTER, self._pointer)', "pass", "seccomp: a job could"),
    "executable memory": ("seccomp.py", "_PROT_EXEC: Final = 4", "_PROT_EXEC: Final = 8", "map executable memory"),
    "descriptors left open": ("child.py", "os.closerange(4, 1 << 16)", "pass", "use an inherited descriptor"),
    "no memory limit": ("layers.py", "(resource.RLIMIT_AS, memory)", "(resource.RLIMIT_CORE, 0)", "take more memory than allowed"),
    "no limit on open files": ("layers.py", "(resource.RLIMIT_NOFILE, 4)", "(resource.RLIMIT_NOFILE, 64)", "hold one more open file"),
    "no death with the parent": ("layers.py", "libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)\n        if", "if", "outlive the parent"),
    "rights that could be gained": ("layers.py", "libc.PR_SET_NO_NEW_PRIVS, 1", "libc.PR_SET_DUMPABLE, 1", ""),
    "a Landlock that handles nothing": ("confine.py", "files = (1 << 13) - 1", "files = 2", "landlock: a job could open a directory"),
}  # fmt: skip


def try_copy(directory: Path, arguments: str = "") -> str:
    script = f"from sandbox import Sandbox\nwith Sandbox(workers=1{arguments}) as box: print('RA' + 'N', box.report)"
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def spoil(directory: Path, file: str, right: str, wrong: str) -> None:
    shutil.copytree(PACKAGE, directory / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    path = directory / "sandbox" / file
    source = path.read_text()
    assert right in source, "the sabotage must still find its line"
    path.write_text(source.replace(right, wrong, 1))


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_spoiled_layer_stops_the_sandbox(name: str, tmp_path: Path, box: Sandbox) -> None:
    file, right, wrong, words = SABOTAGE[name]
    if "Landlock" in name and "landlock" not in box.report.in_force:
        pytest.skip("a kernel with Landlock would run this")
    spoil(tmp_path, file, right, wrong)
    said = try_copy(tmp_path)
    assert "RAN" not in said
    assert words in said
    assert "Error" in said or "Unprotected" in said or "ZygoteLost" in said


def test_the_copies_are_sound_when_nothing_is_spoiled(tmp_path: Path) -> None:
    spoil(tmp_path, "seccomp.py", "ALLOWED: Final", "ALLOWED: Final")
    assert "RAN" in try_copy(tmp_path)


def test_without_seccomp_untrusted_code_is_refused_unless_the_user_says_unsafe(tmp_path: Path) -> None:
    spoil(tmp_path, "libc.py", 'MACHINES: Final = ("x86_64", "aarch64")', 'MACHINES: Final = ("vax", "pdp11")')
    refused = try_copy(tmp_path)
    assert "RAN" not in refused
    assert "missing: seccomp ([Errno 38] no system call numbers" in refused
    assert "Sandbox(unsafe=True)" in refused
    accepted = try_copy(tmp_path, ", unsafe=True")
    assert "RAN UNSAFE, because the user said so: missing: seccomp" in accepted


def test_an_act_that_succeeds_is_told() -> None:
    trials = selftest.try_acts("files", [lambda: open("/etc/passwd").close()])
    assert [(trial.refused, trial.layer) for trial in trials] == [(False, "files")]


@pytest.mark.parametrize("machine", libc.MACHINES)
def test_the_filter_allows_its_list_and_nothing_else_on_both_machines(machine: str) -> None:
    program = seccomp.assemble(seccomp.steps(machine))
    column = libc.MACHINES.index(machine)
    word = seccomp.AUDIT_ARCH[machine]
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000
    allowed = {libc.NUMBERS[name][column] for name in seccomp.ALLOWED}
    guarded = {libc.NUMBERS[name][column] for name in seccomp.WITHOUT_EXEC}
    for number in range(600):
        expected = allow if number in allowed | guarded else refuse
        assert seccomp.decide(program, word, number, protection=3) == expected
        assert seccomp.decide(program, word, number, protection=7) == (refuse if number in guarded else expected)
        assert seccomp.decide(program, 0x40000003, number) == kill  # i386's table
    assert seccomp.decide(program, word, 0x40000000) == kill  # x32's


@pytest.mark.skipif(
    not libc.LINUX or libc.MACHINE != "x86_64", reason="run on x86_64 Linux, whose headers these numbers are from"
)
def test_the_numbers_of_this_machine_are_what_the_kernel_calls_them() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("install linux-libc-dev to compare with the kernel's header")
    numbers = dict(line.split()[1:] for line in header.read_text().splitlines() if line.startswith("#define __NR_"))
    for name, (ours, _) in libc.NUMBERS.items():
        assert numbers.get(f"__NR_{name}", str(ours)) == str(ours), name


def test_the_numbers_of_aarch64_are_the_generic_ones() -> None:
    header = Path("/usr/include/asm-generic/unistd.h")
    if not header.exists():
        pytest.skip("install linux-libc-dev to compare with the kernel's header")
    numbers = dict(line.split()[1:3] for line in header.read_text().splitlines() if line.startswith("#define __NR"))
    for name, (_, ours) in libc.NUMBERS.items():
        known = numbers.get(f"__NR3264_{name}", numbers.get(f"__NR_{name}", str(ours)))
        assert known == str(ours), name
