"""Renting from your own machine with your own key: what a clip costs, and watching a box until it is ready.

The marketplaces' clients are in ``bootstrap.platforms``. Nothing of this runs in a container: a marketplace's
account key must never be there.
"""
