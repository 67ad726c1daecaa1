"""What no single field of a manifest shows: fields that contradict each other, or the model's family.

Works on raw data, so that it also runs when a field is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bootstrap.choose import family as families
from bootstrap.choose.family import Family, Setting
from bootstrap.yaml_errors import Document, Mistake, Place


def mistakes(document: Document, family: Family | None) -> Iterator[Mistake]:
    """All of them. ``family`` is the manifest's family, None where there is none of that name."""
    data: dict[str, Any] = document.data
    yield from _sources(document, ("source",), data.get("source"))
    files = [file for file in _list(data.get("files")) if isinstance(file, dict)]
    for index, file in enumerate(_list(data.get("files"))):
        if isinstance(file, dict) and file.get("source") is not None:
            yield from _sources(document, ("files", index, "source"), file["source"])
        yield from _query(document, index, file)
    yield from _twice(document, "files", "target", [str(f.get("target") or f.get("path")) for f in files])
    names = [str(p.get("name")) for p in _list(data.get("profiles")) if isinstance(p, dict)]
    yield from _twice(document, "profiles", "name", names)
    yield from _paths(document, files)
    if family is not None:
        yield from _roles(document, family)
        yield from _typed(document, family)
    licence = _dict(data.get("licence"))
    if licence.get("gated") is True and not licence.get("accept_url"):
        yield document.mistake(
            ("licence", "accept_url"), "is missing: a gated model needs the page to accept it"
        )
    yield from _defaults(document)


def _sources(document: Document, place: Place, source: Any) -> Iterator[Mistake]:
    if not isinstance(source, dict):
        return
    given = [key for key in ("repo", "url", "folder") if source.get(key)]
    if len(given) != 1:
        yield document.mistake(
            place, f"needs exactly one of repo, url and folder, has {' and '.join(given) or 'none'}"
        )
    if source.get("repo") and not source.get("revision"):
        yield document.mistake(
            place, "a repo needs a revision: the 40 digits of a commit, so that the files never change"
        )
    if source.get("revision") and not source.get("repo"):
        yield document.mistake((*place, "revision"), "means nothing without a repo")


def _query(document: Document, index: int, file: Any) -> Iterator[Mistake]:
    """The hub's pages copy addresses with ?download=true."""
    source = _dict(_dict(file).get("source") or document.data.get("source"))
    if source.get("repo") and "?" in str(_dict(file).get("path")):
        yield document.mistake(
            ("files", index, "path"), "a file of a repo has no query: leave out ? and after"
        )


def _twice(document: Document, listed: str, key: str, names: list[str]) -> Iterator[Mistake]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield document.mistake((listed, index, key), f"{name.partition('?')[0]} is listed twice")


def _paths(document: Document, files: list[dict[str, Any]]) -> Iterator[Mistake]:
    paths = [str(file.get("path")) for file in files]
    for role, path in _dict(document.data.get("components")).items():
        if path != "." and not any(p == path or p.startswith(f"{path}/") for p in paths):
            shown = str(path).partition("?")[0]
            yield document.mistake(("components", str(role)), f"{shown} is not among the files")


def _roles(document: Document, family: Family) -> Iterator[Mistake]:
    """The components must be one of the sets that the family's engine can run."""
    given = set(map(str, _dict(document.data.get("components"))))
    roles = given - {role for together in family.optional_roles for role in together}
    if given and roles not in map(set, family.roles):
        sets = " or ".join("{" + ", ".join(sorted(roles)) + "}" for roles in family.roles)
        got = ", ".join(sorted(roles))
        yield document.mistake(("components",), f"the {family.name} engine needs {sets}, got {{{got}}}")
    for together in family.optional_roles:
        if given & set(together) and not given >= set(together):
            names = " and ".join(together)
            yield document.mistake(("components",), f"{names} belong together, one is missing")


def _typed(document: Document, family: Family) -> Iterator[Mistake]:
    """Settings, recipe and defaults: only what the family knows, with legal values."""
    yield from _values(document, ("recipe",), document.data.get("recipe"), family.recipe)
    yield from _parameters(document, ("defaults",), document.data.get("defaults"), family)
    for index, profile in enumerate(map(_dict, _list(document.data.get("profiles")))):
        place = ("profiles", index)
        yield from _values(document, (*place, "settings"), profile.get("settings"), family.settings)
        yield from _parameters(document, (*place, "defaults"), profile.get("defaults"), family)


def _values(document: Document, place: Place, given: Any, fields: dict[str, Setting]) -> Iterator[Mistake]:
    for key, problem in families.problems(fields, _dict(given)):
        yield document.mistake((*place, key), problem)


def _parameters(document: Document, place: Place, given: Any, family: Family) -> Iterator[Mistake]:
    for key in map(str, _dict(given)):
        if key not in family.parameters:
            yield document.mistake((*place, key), families.unknown(key, family.parameters))


def _defaults(document: Document) -> Iterator[Mistake]:
    """A request that names nothing must be legal, under every profile's limits."""
    limits, defaults = _dict(document.data.get("limits")), _dict(document.data.get("defaults"))
    yield from _illegal(document, ("defaults",), defaults, limits)
    for index, profile in enumerate(map(_dict, _list(document.data.get("profiles")))):
        if profile.get("limits") or profile.get("defaults"):
            own = {**defaults, **_dict(profile.get("defaults"))}
            place = ("profiles", index, "defaults")
            yield from _illegal(document, place, own, _dict(profile.get("limits")) or limits)


def _illegal(
    document: Document, place: Place, defaults: dict[str, Any], limits: dict[str, Any]
) -> Iterator[Mistake]:
    multiple = limits.get("size_multiple", 8)
    size, frames = defaults.get("size"), defaults.get("num_frames")
    sides = str(size).split("x")
    pixels = 0
    if size is not None and (len(sides) != 2 or not all(side.isdigit() for side in sides)):
        yield document.mistake((*place, "size"), f"must be WIDTHxHEIGHT, got {size}")
    elif size is not None:
        pixels = int(sides[0]) * int(sides[1])
        if _is_count(multiple) and any(int(side) % multiple for side in sides):
            yield document.mistake(
                (*place, "size"), f"{size} is not a multiple of {multiple}, the size_multiple"
            )
        if _is_count(limits.get("max_pixels")) and pixels > limits["max_pixels"]:
            yield document.mistake(
                (*place, "size"), f"{size} is above limits.max_pixels, {limits['max_pixels']}"
            )
    if isinstance(frames, int) and frames > 0:
        yield from (
            document.mistake((*place, "num_frames"), each) for each in _frames(frames, pixels, limits)
        )


def _frames(frames: int, pixels: int, limits: dict[str, Any]) -> Iterator[str]:
    legal, step = _list(limits.get("frames")), limits.get("frame_step", 1)
    if legal and frames not in legal:
        yield f"{frames} is not among limits.frames {legal}"
    elif not legal and _is_count(step) and (frames - 1) % step:
        yield f"{frames} is not 1 + a multiple of {step}"
    if _is_count(limits.get("max_frames")) and frames > limits["max_frames"]:
        yield f"{frames} is above limits.max_frames, {limits['max_frames']}"
    if _is_count(limits.get("max_pixel_frames")) and pixels * frames > limits["max_pixel_frames"]:
        yield f"{frames} frames of this size are above limits.max_pixel_frames, {limits['max_pixel_frames']}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
