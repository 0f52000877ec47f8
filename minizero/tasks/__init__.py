"""Tasks: from model text to a proposal (parsing.py), to a task and a verdict (admission.py) in the sandbox."""
