"""Judges: what an answer is worth. functions.py (EvalPlus), programs.py (LiveCodeBench), values.py (CRUXEval)."""
