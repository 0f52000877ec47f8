"""Ablations: variants x seeds as runs of their own beside the default and two controls.

Reading order: sets.py (what is compared), jobs.py (the runs), summary.py (what is kept of each), reuse.py (what another
set has run already), compare.py (the numbers). report/ablation.py puts them together and writes table and page.
"""
