"""A run's tasks, prompts and verifier as an environment of the package `verifiers`, which prime-rl and others load.

Reading order: write.py (export_environment), vendor.py (our files copied as a package of their own); then what is
copied: package.py, taskset.py and rewards/verifier.py.
"""
