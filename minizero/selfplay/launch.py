"""Several processes of this machine that share a run: torch's elastic agent starts them, and ends all when one fails.

Reading order: launch. What they do together is learn/ranks.py's and meeting.py's; across machines they are started by
accelerate or torchrun instead.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from pathlib import Path

import psutil

from minizero.learn.ranks import cores, launched
from minizero.selfplay.signals import handling
from minizero.types import RunError

_OURS = "minizero-"  # how the names of our launches begin


def launch(processes: int) -> bool:
    """Run this command again in that many processes and wait for them. Returns False where the caller has to do the
    work itself: in each of those processes, and where one is enough.

    Raises SystemExit with the status of the process that failed first, and RunError where a launcher of someone else's
    has started us, or where the number makes no sense.
    """
    if launched() > 1:
        if processes > 1 and not os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(_OURS):
            raise RunError(
                f"--processes {processes}: {launched()} were started already, by the launcher. Leave it out."
            )
        return False
    if processes < 1:
        raise RunError(f"--processes {processes}: expected 1 or more.")
    if processes == 1:
        return False
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(cores(processes)))
    for name in ("agent.server.api", "agent.server.local_elastic_agent", "multiprocessing.api"):
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)  # the processes say it
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0, run_id=f"{_OURS}{uuid.uuid4().hex}",
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="127.0.0.1",
        signals_to_handle="SIGTERM,SIGHUP,SIGQUIT",
    )  # fmt: skip
    with handling(signal.SIGINT, _pass_on):
        try:
            elastic_launch(config, sys.executable)(*_again(sys.argv))
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode < 0:
                name = signal.Signals(-failure.exitcode).name
                raise RunError(f"process {rank} of {processes} was ended by {name}, so all stopped.") from None
            raise SystemExit(failure.exitcode) from None
    return True


def _pass_on(number: int, frame: object) -> None:
    """Pass the signal on: each process has a session of its own, so the terminal's does not reach it."""
    for process in psutil.Process().children():
        process.send_signal(number)


def _again(command: list[str]) -> list[str]:
    """What Python is given to run this command once more."""
    program, *arguments = command
    return ["-m", "minizero", *arguments] if Path(program).name == "__main__.py" else [program, *arguments]
