"""Reading a YAML file so that all of its mistakes can be told at once, each with its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bootstrap import web_address

Place = tuple[str | int, ...]  # e.g. ("files", 2, "sha256")


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake of a file: ``line`` counts from 1, 0 when the file has no such line."""

    line: int
    where: str
    problem: str

    def __str__(self) -> str:
        place = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.where) if part)
        return f"{place}: {self.problem}" if place else self.problem


class Document:
    """A parsed YAML text that remembers the line of every value."""

    def __init__(self, text: str) -> None:
        self.data: Any = None
        self.mistakes: list[Mistake] = []
        self._lines: dict[Place, int] = {}
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            if node is not None:
                self._walk(node, (), set())
                self.data = loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = " ".join(part for part in (error.context, error.problem) if part)
            self.mistakes.append(Mistake(mark.line + 1 if mark else 0, "", f"not valid YAML: {problem}"))
        except RecursionError:
            self.mistakes.append(Mistake(0, "", "not valid YAML: nested too deeply"))
        except (yaml.YAMLError, ValueError) as error:
            # ValueError: a scalar such as 2026-99-99 that YAML takes for a date
            self.mistakes.append(Mistake(0, "", f"not valid YAML: {' '.join(str(error).split())}"))

    def mistake(self, place: Place, problem: str) -> Mistake:
        """Word a mistake at the place, or at the nearest one around it that the file has."""
        return Mistake(self._line(place), name_of(place), problem)

    def _line(self, place: Place) -> int:
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 0)

    def _walk(self, node: yaml.Node, place: Place, seen_nodes: set[int]) -> None:
        self._lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.CollectionNode):
            if id(node) in seen_nodes:
                # a few lines of aliases can stand for more values than fit into memory
                raise yaml.MarkedYAMLError(
                    problem="an alias (*name): write the values out", problem_mark=node.start_mark
                )
            seen_nodes.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._walk(item, (*place, index), seen_nodes)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.tag != "tag:yaml.org,2002:str":
                    self.mistakes.append(
                        Mistake(line, name_of(place), "a key must be a word; quotes make it one")
                    )
                    continue
                below = (*place, key.value)
                self._lines[below] = line
                if key.value in seen:
                    self.mistakes.append(Mistake(line, name_of(below), "is written twice"))
                seen.add(key.value)
                self._walk(value, below, seen_nodes)


def name_of(place: Place) -> str:
    """``("files", 2, "sha256")`` is ``files[2].sha256`` for people."""
    name = ""
    for part in place:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def of_schema(
    document: Document, schema: type[BaseModel], context: Mapping[str, Any] | None = None
) -> list[Mistake]:
    """What pydantic finds wrong with the document, in words, with lines; validators get the ``context``."""
    try:
        schema.model_validate(document.data, context=dict(context or {}))
    except ValidationError as errors:
        found = [dict(error) for error in errors.errors(include_url=False)]
        return [_worded(document, error, schema) for error in found if not _follows_from_another(error)]
    return []


def _follows_from_another(error: Mapping[str, Any]) -> bool:
    """Pydantic counts only good items, so that a list whose items are wrong is also called too short.

    Keys that are no words were told before.
    """
    if error["type"] == "invalid_key":
        return True
    return error["type"] == "too_short" and bool(len(error["input"]) >= error["ctx"]["min_length"])


def _worded(document: Document, error: Mapping[str, Any], schema: type[BaseModel]) -> Mistake:
    place: Place = error["loc"]
    match error["type"]:
        case "extra_forbidden":
            hint = _nearest(str(place[-1]), _keys_at(schema, place[:-1]))
            return document.mistake(place, f"unknown key{hint}")
        case "missing":
            return document.mistake(place, "is missing")
        case "value_error":
            return document.mistake(place, str(error["ctx"]["error"]))
    return document.mistake(place, f"{_lowered(error['msg'])}, got {_shown(error['input'])}")


def _keys_at(schema: Any, place: Place) -> Iterable[str]:
    """The keys that the schema knows at a place; none when it is not a plain path of models."""
    for part in place:
        if isinstance(part, int):
            continue
        field = getattr(schema, "model_fields", {}).get(part)
        if field is None:
            return ()
        schema = _model_within(field.annotation)
    return getattr(schema, "model_fields", {}).keys()


def _model_within(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_within(argument)
        if found is not None:
            return found
    return None


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]}?" if near else ""


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def _shown(value: Any) -> str:
    text = web_address.shown(repr(value))
    return text if len(text) <= 60 else text[:57] + "…"
