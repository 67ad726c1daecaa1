"""Files on their way: connections receive ranges, landing writes them, hashing verifies them.

``session`` runs it all; ``control`` holds the one lock.
"""
