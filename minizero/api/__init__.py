"""The front door: what the command line does, from Python.

Reading order: settings.py (load_config), training.py (train, resume), run.py (Run, what they leave), evaluation.py
(evaluate, compare).
"""

from minizero.api.evaluation import Evaluation, compare, evaluate
from minizero.api.run import Run
from minizero.api.settings import load_config
from minizero.api.training import resume, train

__all__ = ["Evaluation", "Run", "compare", "evaluate", "load_config", "resume", "train"]
