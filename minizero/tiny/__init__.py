"""The built-in tiny model: a world of small programs, the model trained on it, and its task sets.

Reading order: operations.py and world.py (what there is to learn), sequences.py and tokenizer.py (as text and ids),
model.py and train.py (learning it), quick.py and measure.py (how well), evaluate.py and card.py (the model card),
sets.py (the tasks). Self-play imports nothing of this but the tasks, which need no torch.
"""

from minizero.tiny.sets import held_out_keys, load

__all__ = ["held_out_keys", "load"]
