"""All that is told of runs, comparisons and ablations, in the terminal and on pages.

Reading order: console.py (while a run goes on), verdict.py (in words), run_page.py (report.html of a run, with facts,
curves, charts and gallery), replay.py; comparison.py and ablation.py (their pages and tables); export/ (what is
published). claims.py says what an interval allows to say; pages.py fills templates/.
"""
