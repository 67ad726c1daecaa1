"""What may be asked of a clip, and what becomes of it. Torch-free.

``parse`` reads what a user wrote into ``Parameters``, the one table; ``complete`` fills in a plan's defaults,
checks the model's limits, and returns the ``Request`` that the queue stores and the engine runs.
"""

from services.parameters.completion import Request, complete
from services.parameters.error import RequestError
from services.parameters.reading import is_plain, parse
from services.parameters.table import FAMILY_TITLES, FPS_RANGE, NAMES, Family, Parameters, families

__all__ = [
    "FAMILY_TITLES",
    "FPS_RANGE",
    "NAMES",
    "Family",
    "Parameters",
    "Request",
    "RequestError",
    "complete",
    "families",
    "is_plain",
    "parse",
]
