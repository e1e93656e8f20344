"""The parts of `compat/bench.py`, a module for each part of the table."""
