"""One file for each command of bootstrap: a function with typer's annotations, or a typer application.

``bootstrap.cli`` lists them and imports one when it is used.
"""
