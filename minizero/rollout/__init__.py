"""Text engines behind one protocol: submit requests, poll for completions. protocol.py first, then transformers.py."""
