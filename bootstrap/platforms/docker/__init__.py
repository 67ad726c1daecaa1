"""A container on one's own machine."""
