"""Run programs that nobody has read: fast enough for training, with nothing of the host within their reach.

Reading order: types.py (the nouns), box.py (Sandbox), host.py (a zygote seen from outside), zygote.py (from inside),
child.py (the one process that sees a program), then the protections. README.md says what they hold against.
"""

from sandbox.box import Sandbox
from sandbox.report import Report
from sandbox.types import Determinism, Job, Limits, Result, SandboxError, Status, Unprotected

__all__ = ["Determinism", "Job", "Limits", "Report", "Result", "Sandbox", "SandboxError", "Status", "Unprotected"]
