"""Frames and files: encode, fit, join. No engine."""
