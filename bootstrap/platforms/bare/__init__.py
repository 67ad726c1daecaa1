"""A machine of one's own, without a container."""
