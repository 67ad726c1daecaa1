"""Reading a manifest by name, path or https address, with all of its mistakes told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootstrap import yaml_errors
from bootstrap.choose import family
from bootstrap.choose.family import Family, Setting
from bootstrap.choose.manifest import MANIFEST_FOLDER, Manifest, Source
from bootstrap.errors import KitError
from bootstrap.yaml_errors import Document, Mistake, Place

MAX_BYTES = 1024 * 1024  # a manifest is a few kB; anything larger is another file
FAMILIES = "families"  # the folder beside a manifest that may hold families of its own


class BadManifest(KitError):
    """A manifest with mistakes; ``mistakes`` holds all of them."""

    def __init__(self, name: str, found: list[Mistake]) -> None:
        count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
        lines = "\n".join(f"  {mistake}" for mistake in found)
        super().__init__(
            f"{name} has {count}:\n{lines}",
            fix="correct the lines above; `kinokit manifest check PATH` reads the file again, and"
            " model-manifests/schema.json lets an editor check it while you type",
        )
        self.mistakes = tuple(found)


def load(name_path_or_url: str) -> Manifest:
    """A shipped model's name, a path that ends in .yaml, or an https address. KitError when it is none."""
    if "://" in name_path_or_url:
        return _anchored(parse(_downloaded(name_path_or_url), name_path_or_url.rpartition("/")[2]), None)
    path = path_of(name_path_or_url)
    return _anchored(parse(_text(path), path.name, path.parent), path.parent)


def path_of(name_or_path: str) -> Path:
    """Where a manifest lies; KitError with the known names when there is none."""
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise KitError(
                f"there is no manifest {path}", fix="check the path, or name one of the shipped models"
            )
        return path.absolute()
    found = shipped()
    if name_or_path not in found:
        raise KitError(
            f"there is no model {name_or_path!r}",
            fix=f"choose one of {', '.join(found)}, or give the path or https address of your own manifest",
        )
    return found[name_or_path]


def shipped(folder: Path = MANIFEST_FOLDER) -> dict[str, Path]:
    """Name and path of every manifest that came with the kit, in alphabetical order."""
    paths = [*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]
    manifests = [path for path in paths if path.parent.name != FAMILIES]
    return {path.stem: path for path in sorted(manifests, key=lambda path: path.stem)}


def parse(text: str, name: str, folder: Path | None = None) -> Manifest:
    """The manifest in a text; BadManifest with every mistake of it. ``folder`` is where its file lies."""
    document = Document(text)
    context = {"families": folder / FAMILIES} if folder else {}
    found = list(document.mistakes)
    if document.data is None and not found:
        found.append(Mistake(0, "", "the file is empty"))
    elif document.data is not None and not isinstance(document.data, dict):
        found.append(Mistake(1, "", "must be a list of `key: value` lines at the top level"))
    elif isinstance(document.data, dict):
        found += yaml_errors.of_schema(document, Manifest, context)
        found += _across(document, _family(document, context.get("families")))
    if found:
        raise BadManifest(name, sorted(set(found)))
    return Manifest.model_validate(document.data, context=context)


def _family(document: Document, beside: Path | None) -> Family | None:
    """None where there is none of that name, which the schema reports."""
    name = document.data.get("family")
    with suppress(KitError):
        return family.load(name, beside) if isinstance(name, str) else None
    return None


def _anchored(manifest: Manifest, base: Path | None) -> Manifest:
    """Make the local folders absolute: from here on nobody needs to know where the manifest lay."""
    folders = [source.folder for source in (manifest.source, *(f.source for f in manifest.files)) if source]
    if base is None and any(folders):
        raise KitError(
            f"the manifest {manifest.name} comes from the net and names a local folder",
            fix="use a repo or an https url as its source, or save the manifest beside the folder",
        )
    if base is None:
        return manifest
    files = tuple(file.model_copy(update={"source": _absolute(file.source, base)}) for file in manifest.files)
    return manifest.model_copy(update={"source": _absolute(manifest.source, base), "files": files})


def _absolute(source: Source | None, base: Path) -> Source | None:
    if source is None or source.folder is None:
        return source
    return source.model_copy(update={"folder": str((base / source.folder).resolve())})


def _across(document: Document, of: Family | None) -> Iterator[Mistake]:
    """What no single field shows. Works on raw data, so that it also runs when a field is wrong."""
    data: dict[str, Any] = document.data
    yield from _sources(document, ("source",), data.get("source"))
    files = [file for file in _list(data.get("files")) if isinstance(file, dict)]
    for index, file in enumerate(_list(data.get("files"))):
        if isinstance(file, dict) and file.get("source") is not None:
            yield from _sources(document, ("files", index, "source"), file["source"])
    yield from _twice(document, "files", "target", [str(f.get("target") or f.get("path")) for f in files])
    names = [str(p.get("name")) for p in _list(data.get("profiles")) if isinstance(p, dict)]
    yield from _twice(document, "profiles", "name", names)
    yield from _paths(document, files)
    if of is not None:
        yield from _roles(document, of)
        yield from _typed(document, of)
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


def _twice(document: Document, listed: str, key: str, names: list[str]) -> Iterator[Mistake]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield document.mistake((listed, index, key), f"{name} is listed twice")


def _paths(document: Document, files: list[dict[str, Any]]) -> Iterator[Mistake]:
    paths = [str(file.get("path")) for file in files]
    for role, path in _dict(document.data.get("components")).items():
        if path != "." and not any(p == path or p.startswith(f"{path}/") for p in paths):
            yield document.mistake(("components", str(role)), f"{path} is not among the files")


def _roles(document: Document, of: Family) -> Iterator[Mistake]:
    """The components must be one of the sets that the family's engine can run."""
    given = set(map(str, _dict(document.data.get("components"))))
    roles = given - {role for together in of.optional_roles for role in together}
    if given and roles not in map(set, of.roles):
        sets = " or ".join("{" + ", ".join(sorted(roles)) + "}" for roles in of.roles)
        got = ", ".join(sorted(roles))
        yield document.mistake(("components",), f"the {of.name} engine needs {sets}, got {{{got}}}")
    for together in of.optional_roles:
        if given & set(together) and not given >= set(together):
            names = " and ".join(together)
            yield document.mistake(("components",), f"{names} belong together, one is missing")


def _typed(document: Document, of: Family) -> Iterator[Mistake]:
    """Settings, recipe and defaults: only what the family knows, with legal values."""
    data: dict[str, Any] = document.data
    profiles = [_dict(profile) for profile in _list(data.get("profiles"))]
    checked: list[tuple[Place, Any, dict[str, Setting]]] = [(("recipe",), data.get("recipe"), of.recipe)]
    checked += [(("profiles", n, "settings"), p.get("settings"), of.settings) for n, p in enumerate(profiles)]
    for place, given, fields in checked:
        for key, problem in family.problems(fields, _dict(given)):
            yield document.mistake((*place, key), problem)
    defaults: list[tuple[Place, Any]] = [(("defaults",), data.get("defaults"))]
    defaults += [(("profiles", n, "defaults"), p.get("defaults")) for n, p in enumerate(profiles)]
    for place, given in defaults:
        for key in map(str, _dict(given)):
            if key not in of.parameters:
                yield document.mistake((*place, key), family.unknown(key, of.parameters))


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


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise KitError(
            f"{path} is larger than 1 MiB, so it is not a manifest", fix="give the path of a YAML file"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise KitError(f"{path} is not UTF-8 text", fix="save the manifest as UTF-8") from error


def _downloaded(url: str) -> str:
    import httpx  # 150 ms that only a manifest from the net pays

    if not url.startswith("https://"):
        raise KitError(
            f"a manifest's address must begin with https://, got {url}", fix="use https, or a local path"
        )
    try:
        answer = httpx.get(url, timeout=20, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise KitError(
            f"the manifest could not be read from {url}: {error}", fix="check the address"
        ) from error
    if len(answer.content) > MAX_BYTES:
        raise KitError(
            f"{url} is larger than 1 MiB, so it is not a manifest", fix="give the address of a YAML file"
        )
    return answer.text
