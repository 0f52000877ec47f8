"""What is the adapter worth: held-out tasks (heldout.py), and what the numbers allow to conclude (passk.py)."""
