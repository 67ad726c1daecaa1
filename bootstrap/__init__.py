"""From an empty machine to a running service. Knows machines, not video; imports no torch."""

__version__ = "0.1.0"
