"""A model family: what all of its models have in common, as one YAML file in ``model-manifests/families``.

Manifests are held against it, requests are completed by it, and its engine reads typed settings through it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from bootstrap import yaml_errors
from bootstrap.errors import KitError

FAMILY_FOLDER = Path(__file__).parents[2] / "model-manifests" / "families"
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
# A Python package may have it, too.
FamilyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Strict(BaseModel):
    """Frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Setting(Strict):
    """One key of ``settings`` or ``recipe``, in the words of JSON schema. A null default allows null."""

    type: Literal["string", "integer", "number", "boolean"]
    description: str
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    default: Any

    @model_validator(mode="after")
    def _has_a_legal_default(self) -> Setting:
        problem = self.problem(self.default)
        if problem:
            raise ValueError(f"the default {problem}")
        return self

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, in words; None when it is legal."""
        if value is None and self.default is None:
            return None
        # A bool is an int to Python, and yes is no number to people.
        if type(value) not in PYTHON_TYPES[self.type]:
            return f"must be {self.rule()}, got {value!r}"
        is_legal = (
            (not self.enum or value in self.enum)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )
        return None if is_legal else f"must be {self.rule()}, got {value!r}"

    def rule(self) -> str:
        """What is legal, in words."""
        if self.enum:
            return f"one of {', '.join(self.enum)}"
        words = {"string": "a text", "integer": "a whole number", "number": "a number"}
        rule = words.get(self.type, "true or false")
        if self.minimum is not None:
            rule += f" of at least {self.minimum:g}"
        if self.maximum is not None:
            rule += f" {'and' if self.minimum is not None else 'of'} at most {self.maximum:g}"
        return f"{rule}, or null" if self.default is None else rule

    def schema_for_editors(self) -> dict[str, Any]:
        """As JSON schema."""
        given = self.model_dump(mode="json", exclude_defaults=True, exclude={"type"})
        kinds: Any = [self.type, "null"] if self.default is None else self.type
        return {"type": kinds, "default": self.default, **given}


class Range(Strict):
    """Both ends are legal."""

    minimum: int
    maximum: int


class Preset(Strict):
    """A named starting point. ``values`` are request parameters; what the user gives wins over them."""

    name: Name
    meaning: str  # one line for people
    values: dict[str, Any]


class Fallback(Strict):
    """Other defaults for a request in which parameters have these values."""

    when: dict[str, Any]
    from_recipe: dict[str, str]  # parameter -> key of the recipe; one that is null there changes nothing


class Doubt(Strict):
    """A value that is made all the same, with a warning, in which ``{value}`` stands for it."""

    parameter: str
    above: float | None = None
    below: float | None = None
    when: dict[str, Any] = Field(default_factory=dict)  # other parameters' values
    warning: str


class Dependence(Strict):
    """A parameter that has no effect unless another one is above a number."""

    parameter: str
    other: str
    above: float


class Rules(Strict):
    """What one field's own range cannot say of a request."""

    ordered: tuple[tuple[str, str], ...] = ()  # the first of two parameters must not be above the second
    doubtful: tuple[Doubt, ...] = ()
    read_only_with: tuple[Dependence, ...] = ()


class Family(Strict):
    """The whole file. A plan carries it, so that every process of a start has the same."""

    name: FamilyName
    title: str
    engine: str | None = None  # a Python module outside of the kit; services.engines.<name> when absent
    roles: Annotated[tuple[tuple[str, ...], ...], Field(min_length=1)]  # sets of components that it can run
    optional_roles: tuple[tuple[str, ...], ...] = ()  # beside any of them; those of a group belong together
    settings: dict[str, Setting] = Field(default_factory=dict)  # how a profile runs the model
    recipe: dict[str, Setting] = Field(default_factory=dict)  # facts of a model that no request changes
    parameters: tuple[str, ...]  # the request parameters that its models read
    offered_with: dict[str, str] = Field(default_factory=dict)  # shown if the model has a default for another
    meanings: dict[str, str] = Field(default_factory=dict)  # of parameters, where the general one is not true
    fps: Range
    defaults: dict[str, Any] = Field(default_factory=dict)  # below those of the model
    presets: tuple[Preset, ...] = ()
    fallbacks: tuple[Fallback, ...] = ()
    rules: Rules = Rules()
    tokens_from_recipe: str | None = None  # the recipe's name for how many tokens of a prompt are read
    first_clip_extra_seconds: float  # what the first clip of a fresh machine takes more than the next

    @property
    def module(self) -> str:
        """The engine's Python module."""
        return self.engine or f"services.engines.{self.name}"

    @model_validator(mode="after")
    def _names_only_what_is_there(self) -> Family:
        unknown = sorted(set(self._named_parameters()) - set(self.parameters))
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not among the parameters")
        keys = {key for each in self.fallbacks for key in each.from_recipe.values()} - set(self.recipe)
        if self.tokens_from_recipe not in (None, *self.recipe):
            raise ValueError(f"tokens_from_recipe is {self.tokens_from_recipe}: not in the recipe")
        if keys:
            raise ValueError(f"fallbacks take {', '.join(sorted(keys))}: not in the recipe")
        return self

    def _named_parameters(self) -> Iterator[str]:
        yield from (*self.offered_with, *self.offered_with.values(), *self.meanings, *self.defaults)
        for preset in self.presets:
            yield from preset.values
        for fallback in self.fallbacks:
            yield from (*fallback.when, *fallback.from_recipe)
        for pair in self.rules.ordered:
            yield from pair
        for doubt in self.rules.doubtful:
            yield from (doubt.parameter, *doubt.when)
        for each in self.rules.read_only_with:
            yield from (each.parameter, each.other)

    def read_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A profile's settings with every key; ``KitError`` for one that is unknown or not legal."""
        return self._read("settings", self.settings, given)

    def read_recipe(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A model's recipe with every key; ``KitError`` for one that is unknown or not legal."""
        return self._read("recipe", self.recipe, given)

    def _read(self, what: str, fields: Mapping[str, Setting], given: Mapping[str, Any]) -> dict[str, Any]:
        for key, problem in problems(fields, given):
            rules = "; ".join(f"{name}: {field.rule()}" for name, field in fields.items())
            raise KitError(f"{what} of the {self.name} family: {key} {problem}", fix=rules or "remove it")
        return {name: given.get(name, field.default) for name, field in fields.items()}


def problems(fields: Mapping[str, Setting], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and problem of everything that is unknown or not legal."""
    for key, value in given.items():
        field = fields.get(key)
        problem = unknown(key, fields) if field is None else field.problem(value)
        if problem:
            yield key, problem


def unknown(key: str, known: Iterable[str]) -> str:
    """The problem of a key that is not known, with the nearest that is."""
    near = difflib.get_close_matches(key, list(known), n=1)
    return f"unknown key, did you mean {near[0]}?" if near else "unknown key"


def load(name: str, beside: Path | None = None) -> Family:
    """The family of a name: from the folder ``beside`` a manifest, else one that came with the kit.

    Raises:
        KitError: there is none, or its file has mistakes.
    """
    folders = [folder for folder in (beside, FAMILY_FOLDER) if folder is not None]
    known = {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))}
    if name not in known:
        raise KitError(
            f"there is no family {name!r}",
            fix=f"choose one of {', '.join(known)}, or write families/{name}.yaml beside the manifest",
        )
    return _read_file(known[name])


def shipped() -> tuple[Family, ...]:
    """Every family that came with the kit, in alphabetical order."""
    return tuple(_read_file(path) for path in sorted(FAMILY_FOLDER.glob("*.yaml")))


@cache
def _read_file(path: Path) -> Family:
    document = yaml_errors.Document(path.read_text(encoding="utf-8"))
    found = [*document.mistakes]
    if not found:
        found += yaml_errors.of_schema(document, Family)
    if not found and document.data["name"] != path.stem:
        found.append(document.mistake(("name",), f"must be {path.stem}, as the file is called"))
    if found:
        lines = "\n".join(f"  {mistake}" for mistake in sorted(found))
        raise KitError(f"the family file {path} has mistakes:\n{lines}", fix="correct the lines above")
    return Family.model_validate(document.data)
