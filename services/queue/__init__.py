"""The queue: one table, its verbs, and the files of its jobs. It runs in the front."""
