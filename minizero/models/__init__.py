"""Models as they are found: names, directories, GGUF files, architectures.

Reading order: load.py, tokenizer.py, architecture.py (what a model can do), attention.py and head.py (its own
mathematics, in rows that completions share), adapter.py, gguf.py, merge.py.
"""
