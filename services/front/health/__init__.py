"""How the box stands: boot, workers, queue, people."""
