"""A family's rules, held against a request's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bootstrap.choose.family import Doubt, Rules
from services.parameters.error import RequestError


def check(values: Mapping[str, Any], rules: Rules, warnings: list[str]) -> None:
    """Refuse what contradicts itself with ``RequestError``; add a warning for what is doubtful."""
    for least, most in rules.ordered:
        _check_order(least, most, values)
    for each in rules.read_only_with:
        other = values[each.other]
        if values[each.parameter] and (other is None or other <= each.above):
            warnings.append(f"{each.parameter} is read only with {each.other} above {each.above:g}")
    for doubt in rules.doubtful:
        value = values[doubt.parameter]
        if value is not None and holds(doubt.when, values) and _is_doubtful(value, doubt):
            warnings.append(doubt.warning.replace("{value}", f"{value:g}"))


def holds(when: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Every one of these parameters has the value."""
    return all(values.get(name) == value for name, value in when.items())


def _check_order(least: str, most: str, values: Mapping[str, Any]) -> None:
    low, high = values[least], values[most]
    if low is not None and high is not None and low > high:
        raise RequestError(
            f"{least} {low:g} is above {most} {high:g}",
            fix=f"give at most {high:g}, or raise {most}",
            param=least,
        )


def _is_doubtful(value: float, doubt: Doubt) -> bool:
    above = doubt.above is not None and value > doubt.above
    return above or (doubt.below is not None and value < doubt.below)
