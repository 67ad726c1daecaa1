"""The queue, its states, and the worker that takes from it."""
