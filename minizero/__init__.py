"""minizero: Absolute-Zero self-play for one person with one graphics card. Start reading at selfplay.py."""

__version__ = "0.1.0"
