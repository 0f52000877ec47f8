"""Learning from rollouts: pure functions of tensors, and the policy that uses them.

Reading order: policy.py (update is the story), advantages.py (TRR++ and others), losses.py, log_probs.py, batching.py,
optimiser.py; then checkpoint.py and memory_check.py.
"""
