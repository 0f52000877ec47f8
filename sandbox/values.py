"""Values, the one public place for them: as bytes (codec.py), as source text (text.py), and their equality.

Reading order: codec.py, then text.py. minizero imports this module and no other way to read what a model wrote.
"""

from sandbox.codec import MAX_BYTES, MAX_DEPTH, InvalidValue, canonical, decode, digest, encode, equal, is_value
from sandbox.text import parse_arguments, parse_value, render

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "InvalidValue",
    "canonical",
    "decode",
    "digest",
    "encode",
    "equal",
    "is_value",
    "parse_arguments",
    "parse_value",
    "render",
]
