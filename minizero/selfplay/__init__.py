"""Absolute-Zero self-play: one step, and runs of many.

Reading order: step.py (a step on one page), drawing.py (its prompts), round.py (each completion's way, with answers.py
and scheduler.py), scoring.py (rewards), buffer.py and seeds.py (tasks); then a run: build.py (its parts), run_loop.py,
validation.py, run_directory.py and run_data.py (written and read), manifest.py, version.py (which version may continue
a run), trackers.py. seeding.py grows seed tasks.
"""
