"""What may be asked of a clip, and what becomes of it. Torch-free.

``parse`` reads what a user wrote into ``Parameters``, the one table; ``complete`` fills in a plan's defaults,
checks the model's limits, and returns the ``Request`` that the queue stores and the engine runs. What differs
from family to family stands in ``model-manifests/families`` and comes with the plan.
"""

from services.parameters.completion import Request, complete
from services.parameters.error import RequestError
from services.parameters.reading import is_plain, parse
from services.parameters.table import NAMES, Parameters

__all__ = [
    "NAMES",
    "Parameters",
    "Request",
    "RequestError",
    "complete",
    "is_plain",
    "parse",
]
