"""Frames and files: fit a photo, encode a clip, put clips into one grid. No engine."""
