"""A marketplace that does not exist, in the files that CONTRIBUTING asks for."""

from __future__ import annotations

ENVIRONMENT = {"TOY_BOX": "abc", "TOY_PORT_8000": "9000"}
OFFERS = [{"id": "toy-1", "gpu": "H200", "gib": 141, "dollars": 2.5}]

HERE = """
from bootstrap.platforms.base import Env, Stop, alone

NAME = "toy-cloud"
TITLE = "Toy Cloud"
IS_RENTED = True
STOPS_ITSELF = False
IS_SHORT_LIVED = False
PROXY_TIMEOUT_SECONDS: float | None = 45.0
ADDRESS_DOMAIN: str | None = ".toy.example"
SETTINGS = {"model": "TOY_MODEL"}
box = alone


def is_here(env: Env) -> bool:
    return "TOY_BOX" in env


def public_url(env: Env, port: int) -> str | None:
    return f"https://{env['TOY_BOX']}.toy.example" if "TOY_BOX" in env else None


def direct_port(env: Env, port: int) -> int | None:
    return int(env[f"TOY_PORT_{port}"]) if f"TOY_PORT_{port}" in env else None


def data_dir(env: Env) -> str:
    return "/toy/kinokit"


def stop(env: Env) -> Stop:
    return Stop("throw it away")
"""

FORM = """
from bootstrap.platforms.order import Form, Order
from bootstrap.platforms.toy_cloud.here import NAME


def form(order: Order) -> Form:
    body = {"env": order.env(NAME), "image": order.image}
    return Form((("Toy image", order.image),), order.line(), "POST", "https://api.toy.example/boxes", body)
"""

MARKET = """
from collections.abc import Mapping

from bootstrap.choose.manifest import Needs
from bootstrap.platforms.market import Filters, Market, Offer, Rental
from bootstrap.platforms.order import Order
from bootstrap.platforms.toy_cloud.here import NAME, TITLE


class Client(Market):
    name = TITLE
    address = "https://api.toy.example"
    key_variable = "TOY_API_KEY"

    def auth(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _offers(self, needs: Needs, disk_gb: int, filters: Filters) -> list[Offer]:
        return [
            Offer(NAME, each["id"], each["gpu"], 1, each["gib"], each["dollars"])
            for each in self.call("GET", "/offers")
        ]

    def _order(self, offer: Offer, order: Order) -> str | None:
        raise NotImplementedError

    def _all(self, port: int) -> list[Rental]:
        return []

    def _destroy(self, id: str) -> None:
        raise NotImplementedError
"""

FILES = {"__init__.py": "", "here.py": HERE, "form.py": FORM, "market.py": MARKET}
