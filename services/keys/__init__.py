"""Named keys: who may do what, how much of it, and where that is kept. Used by the front and the command."""
