"""Clore.ai."""
