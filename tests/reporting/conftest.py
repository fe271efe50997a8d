"""Fixtures of the reporting tests; what they are made of is in folders.py."""

from folders import folder, no_drawing

__all__ = ["folder", "no_drawing"]
