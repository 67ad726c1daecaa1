"""Who comes in, by what, and what a browser may do with the answer."""
