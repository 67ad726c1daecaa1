"""The commands that only look: what would run here, with which settings, from which manifest.

Each is a plain function with typer's annotations; ``bootstrap.cli`` puts the application together.
"""
