"""The settings of a run: schema.py says what there is, load.py reads files and overrides into one validated Config."""

from minizero.config.load import check, config_from, difference, load_config, read_toml, sentence_of, to_toml
from minizero.config.schema import Config

__all__ = ["Config", "check", "config_from", "difference", "load_config", "read_toml", "sentence_of", "to_toml"]
