"""The attacks again: as root and as an ordinary user, with all layers, with each optional one off, with none of them.

Reading order: the configurations, then what the report says, then Landlock and namespaces each on its own, without the
system call filter that would hide a hole in them.
"""

# ruff: noqa: E501 (scripts inside strings)

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from target import Target

from sandbox import Job, Sandbox
from sandbox.layers import LAYERS, OPTIONAL, REQUIRED

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
NOBODY = 65534


def readable_python() -> str | None:
    """An interpreter that an unprivileged user can start: ours may live in a private home."""
    for python in (sys.executable, "/usr/bin/python3"):
        version = "import sys; sys.exit(sys.version_info < (3, 11))"
        try:
            if (
                subprocess.run(
                    [python, "-c", version], user=NOBODY, group=NOBODY, cwd="/", capture_output=True
                ).returncode
                == 0
            ):
                return python
        except OSError:
            continue
    return None


def run_as(user: str, target: Target, without: tuple[str, ...], kinds: list[str]) -> dict[str, Any]:
    """The corpus in a process of its own; `user` is root, ordinary (us, whoever we are) or nobody (switched to)."""
    identity: dict[str, Any] = {}
    python: str | None = sys.executable
    if user == "root" and os.geteuid() != 0:
        pytest.skip("run the tests as root to test this")
    if user == "nobody":
        if os.geteuid() != 0:
            pytest.skip("run the tests as root, so that they can switch users; test_attacks.py has tested this user")
        python = readable_python()
        if python is None:
            pytest.skip("install Python 3.11 or newer where every user can read it, e.g. as /usr/bin/python3")
        identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    setting = json.dumps({"without": without, "words": target.words, "kinds": kinds})
    done = subprocess.run(
        [str(python), str(HERE / "as_configured.py"), setting],
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ.get("PATH", ""),
            "SECRET_TOKEN": "x",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=300,
        **identity,
    )
    assert done.returncode == 0, done.stderr
    assert target.harm() == []
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("user", ["root", "nobody"])
@pytest.mark.parametrize("without", [(), OPTIONAL], ids=["all layers", "required layers only"])
def test_every_attack_fails(user: str, without: tuple[str, ...], target: Target) -> None:
    # Loops take their time, and are ended by the zygote's watch, which no layer changes: once is enough.
    kinds = ["act", "hang", "death"] if user == "nobody" and without else ["act", "death"]
    outcome = run_as(user, target, without, kinds)
    assert outcome["fell"] == []
    # Nobody cannot become nobody: for an ordinary user that layer is always in force.
    assert set(without) - {"nobody"} <= set(outcome["missing"])
    assert set(REQUIRED) <= set(outcome["in_force"])


@pytest.mark.parametrize(
    ("user", "without"),
    [
        ("nobody", "namespaces landlock"),
        *(("root", name) for name in OPTIONAL),
        *(pytest.param("nobody", name, marks=pytest.mark.slow) for name in OPTIONAL if name != "nobody"),
    ],
)
def test_every_attack_fails_when_a_layer_is_missing(user: str, without: str, target: Target) -> None:
    outcome = run_as(user, target, tuple(without.split()), ["act"])
    assert outcome["fell"] == []
    assert set(without.split()) <= set(outcome["missing"])


def test_the_report_tells_every_layer_in_words_and_as_data(box: Sandbox) -> None:
    with Sandbox(workers=1, without=["landlock"]) as own:
        assert set(own.report.in_force) | set(own.report.missing) == set(LAYERS)
        assert own.report.missing["landlock"] == "switched off"
        assert "landlock (switched off)" in str(own.report)
        assert "landlock" in own.report.table()
        assert json.loads(json.dumps(own.report.as_data()))["unsafe"] is False
        assert 1 < own.report.zygote_mib < 60


def test_a_layer_that_does_not_exist_cannot_be_switched_off() -> None:
    with pytest.raises(ValueError, match="no layer 'firewall'"):
        Sandbox(without=["firewall"])


def in_a_fork(script: str) -> str:
    """What a script prints; it may confine itself for good."""
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_landlock_alone_refuses_files_and_tcp(target: Target) -> None:
    script = f"""
import socket
from sandbox import confine, libc
try: version = confine.landlock_version()
except OSError as error: print("none", error); raise SystemExit
libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
confine.landlock()
def attempt(act):
    try: act()
    except OSError: return "refused"
    return "done"
print(attempt(lambda: open({str(target.words["SECRET"])!r})), attempt(lambda: open({str(target.words["CANARY"])!r}, "w")),
      attempt(lambda: socket.create_connection(("127.0.0.1", {target.words["PORT"]}))) if version >= 4 else "refused",
      attempt(lambda: socket.socket(socket.AF_UNIX).connect("\\0{target.name}")) if version >= 6 else "refused")
"""
    seen = in_a_fork(script)
    if seen.startswith("none"):
        pytest.skip(f"a kernel with Landlock (5.13 or newer) would run this: {seen}")
    assert seen == "refused refused refused refused"
    assert target.harm() == []


def test_namespaces_alone_hide_processes_network_and_files(target: Target) -> None:
    script = f"""
import encodings.idna, os, socket
from sandbox import confine
try: confine.enter_namespaces()
except OSError as error: print("none", error); raise SystemExit
if os.fork():
    os.wait(); raise SystemExit
def attempt(act):
    try: act()
    except OSError: return "refused"
    return "done"
confine.empty_root()
print(os.getpid(), os.listdir("/"), attempt(lambda: os.kill({os.getpid()}, 0)),
      attempt(lambda: socket.create_connection(("127.0.0.1", {target.words["PORT"]}))), attempt(lambda: os.mkdir("/x")))
"""
    seen = in_a_fork(script)
    if seen.startswith("none"):
        pytest.skip(f"a machine that permits user namespaces, or root, would run this: {seen}")
    assert seen == "1 [] refused refused refused"


def test_nobody_cannot_read_what_root_can() -> None:
    if os.geteuid() != 0:
        pytest.skip("run the tests as root to test this")
    script = """
import os
from sandbox import confine
confine.become_nobody()
try: print(open("/etc/shadow").read())
except PermissionError: print(os.getuid(), os.getgroups())
"""
    assert in_a_fork(script) == "65534 []"


def test_a_job_sees_neither_capabilities_nor_identity(box: Sandbox) -> None:
    result = box.run(Job("import os\ndef f(): return os.getuid()", args="", imports="stdlib"))
    assert result.value != 0
