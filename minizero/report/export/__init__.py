"""What a run is published as: an adapter, a whole model or a GGUF file, with its card and the base's licence.

Reading order: write.py (export), then model_card.py, licence.py and modelfile.py (what is written beside the weights).
"""

from minizero.report.export.write import export

__all__ = ["export"]
