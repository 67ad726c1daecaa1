"""The parameter table as command-line flags: every field under its own name, with its range and meaning."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
import typer
from pydantic.fields import FieldInfo

from services.parameters import NAMES, Parameters, families


def with_parameters(command: Callable[..., Any], *, leave_out: tuple[str, ...] = ()) -> Callable[..., Any]:
    """The command with one flag for each parameter; it receives as ``given`` those that were set."""
    own = [
        each for each in inspect.signature(command, eval_str=True).parameters.values() if each.name != "given"
    ]
    names = [name for name in NAMES if name not in leave_out]

    def called(**values: Any) -> Any:
        given = {name: values.pop(name) for name in names}
        return command(**values, given={name: value for name, value in given.items() if value is not None})

    flags = [_flag(name, Parameters.model_fields[name]) for name in names]
    called.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in (*own, *flags)}
    called.__doc__ = command.__doc__
    called.__name__ = command.__name__
    return called


def _flag(name: str, field: FieldInfo) -> inspect.Parameter:
    kind = _kind(field.annotation)
    dashed = f"--{name.replace('_', '-')}"
    spelt = f"{dashed}/--no-{dashed[2:]}" if kind is bool else dashed
    option = typer.Option(spelt, help=meaning(name), show_default=False, rich_help_panel="What to make")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _kind(annotation: Any) -> Any:
    """``int`` of ``int | None``; a choice of words is a text here, the table checks it."""
    if get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    return str if get_origin(annotation) is Literal else annotation


def meaning(name: str) -> str:
    """What the field means, what it may be, and which models read it."""
    field = Parameters.model_fields[name]
    texts = [field.description or f"{name.replace('_', ' ').capitalize()}."]
    low, high = _limits(field.metadata)
    if low is not None and high is not None and high < 2**31:
        texts.append(f"{low:g} to {high:g}.")
    words = [
        word for part in get_args(field.annotation) if get_origin(part) is Literal for word in get_args(part)
    ]
    words = list(families.preset_names()) if name == "preset" else words
    if words:
        texts.append(f"One of {', '.join(words)}.")
    readers = families.readers(name)
    if len(readers) == 1:
        texts.append(f"{readers[0].title} only.")
    return " ".join(texts)


def _limits(metadata: typing.Sequence[Any]) -> tuple[float | None, float | None]:
    found: Mapping[str, Any] = {
        key: value
        for each in metadata
        for key, value in (
            ("low", getattr(each, "ge", getattr(each, "gt", None))),
            ("high", getattr(each, "le", None)),
        )
        if value is not None and isinstance(each, annotated_types.BaseMetadata)
    }
    return found.get("low"), found.get("high")
