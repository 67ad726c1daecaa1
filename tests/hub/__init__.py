"""A server that behaves like the model hub, for every test that fetches.

``with hub.serve() as server:`` gives real HTTP on two loopback addresses: the hub, and the storage that it
redirects to with signed addresses, as the real one does. ``server.add(...)`` makes a repository,
``server.fault(...)`` makes something go wrong, ``server.seen`` is what was asked and how much was sent.
"""

from tests.hub.server import Fault, Hub, Repo, Seen, serve

__all__ = ["Fault", "Hub", "Repo", "Seen", "serve"]
