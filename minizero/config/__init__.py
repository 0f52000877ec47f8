"""The settings of a run: schema.py says what there is, load.py reads files and overrides into one validated Config."""
