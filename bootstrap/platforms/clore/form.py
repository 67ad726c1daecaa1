"""What to type into an order on clore.ai, and the same as a call of its API."""

from __future__ import annotations

from bootstrap.platforms.clore.here import NAME
from bootstrap.platforms.order import LABEL_VARIABLE, Form, Order


def form(order: Order) -> Form:
    """The fields of an order, and ``POST /v1/create_order`` (header ``auth``, 1 call in 5 s)."""
    env = {**order.env(NAME), LABEL_VARIABLE: order.label}
    line = order.line()
    return Form(
        fields=(
            ("GPU", f"one with at least {order.gpu_gb} GB, CUDA {order.cuda} or newer"),
            ("Storage of the server", f"at least {order.disk_gb} GB free"),
            ("Docker image", order.image),
            ("Ports", f"22 tcp, {order.port} http"),
            ("Environment", "  ".join(f"{name}={value}" for name, value in env.items())),
        ),
        paste=line,
        method="POST",
        url="https://api.clore.ai/v1/create_order",
        body={
            "type": "on-demand",
            # An order pays in a currency that the host takes, and never more a day than is said here.
            "currency": "{currency}",
            "required_price": "{price}",
            "renting_server": "{server}",
            "image": order.image,
            "ports": {"22": "tcp", str(order.port): "http"},
            "env": env,
            # Documented nowhere; public clients set both: the command then runs beside an ssh server.
            **({"command": line, "autossh_entrypoint": True} if line else {}),
            **({"ssh_key": order.ssh_key} if order.ssh_key else {}),
        },
        notes=(
            "The page says Proxy Not Found until the container runs (2 minutes); then the boot page shows.",
            "Take a server that lists a price in a currency that you hold; 5 % come on top.",
            "The public address stands under My Orders; the box learns it from your first visit.",
        ),
    )
