"""Which model families read a field of the table."""

from __future__ import annotations

from functools import cache
from typing import Any

from bootstrap.choose.family import Family, shipped
from bootstrap.errors import KitError
from services.parameters.table import NAMES, Parameters


def names(family: Family) -> list[str]:
    """The fields that a family's models read, in the table's order. ``KitError`` for one that is no field."""
    unknown = [name for name in family.parameters if name not in NAMES]
    if unknown:
        raise KitError(
            f"the family {family.name} reads {', '.join(unknown)}, which nobody can ask for",
            fix="correct its parameters, or add the field to services/parameters/table.py",
        )
    return [name for name in NAMES if name in family.parameters]


@cache
def readers(name: str) -> tuple[Family, ...]:
    """The families that came with the kit and read a field."""
    return tuple(each for each in shipped() if name in each.parameters)


@cache
def preset_names() -> tuple[str, ...]:
    """Of every family that came with the kit."""
    return tuple(preset.name for each in shipped() for preset in each.presets)


def schemas(family: Family | None = None) -> dict[str, dict[str, Any]]:
    """JSON schema of the fields that a family reads, or of all, each with the families that read it."""
    table: dict[str, dict[str, Any]] = Parameters.model_json_schema()["properties"]
    found = {}
    for name in NAMES if family is None else names(family):
        families = {each.name for each in readers(name)} | ({family.name} if family else set())
        meaning = family.meanings.get(name) if family else None
        described = {"description": meaning} if meaning else {}
        found[name] = {**table[name], **described, "families": sorted(families)}
    return found
