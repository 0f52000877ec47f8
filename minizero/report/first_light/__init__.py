"""First light: the first ten minutes on a card, or on a CPU, as one command with one report.

Reading order: conduct.py (which stages, in which order, and what follows from one that failed), stage.py (a stage is a
process with a time limit), child.py (what runs in it); what the stages do is in machine.py (the machine, doctor, tests
on the card), engine.py (engine, update, memory) and plays.py (runs: the tiny model, a kill and a resume, the real
model). rates.py measures, constants.py makes the plan's constants of it, page.py writes the report.
"""

from __future__ import annotations
