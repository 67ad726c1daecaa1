"""Reading a manifest by name, path or https address, with all of its mistakes told at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from bootstrap import certificates, web_address, yaml_errors
from bootstrap.choose import addressing, consistency
from bootstrap.choose import family as families
from bootstrap.choose.family import Family
from bootstrap.choose.manifest import MANIFEST_FOLDER, Manifest, Source
from bootstrap.errors import KitError
from bootstrap.yaml_errors import Document, Mistake

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
        name = urlsplit(name_path_or_url).path.rpartition("/")[2]
        return _anchored(addressing.hide(parse(_downloaded(name_path_or_url), name)), None)
    path = path_of(name_path_or_url)
    return _anchored(addressing.hide(parse(_text(path), path.name, path.parent)), path.parent)


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
        found += consistency.mistakes(document, _family(document, context.get("families")))
    if found:
        raise BadManifest(name, sorted(set(found)))
    return Manifest.model_validate(document.data, context=context)


def _family(document: Document, beside: Path | None) -> Family | None:
    """None where there is none of that name, which the schema reports."""
    name = document.data.get("family")
    with suppress(KitError):
        return families.load(name, beside) if isinstance(name, str) else None
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
            f"a manifest's address must begin with https://, got {web_address.shown(url)}",
            fix="use https, or a local path",
        )
    try:
        trusted = certificates.trusting(os.environ)
        answer = httpx.get(url, timeout=20, follow_redirects=True, verify=trusted)
        answer.raise_for_status()
    except ImportError as error:  # httpx knows no SOCKS proxy by itself
        raise KitError(
            "a manifest's address cannot be read through a SOCKS proxy",
            fix="save the manifest to a file, or name an HTTP proxy in HTTPS_PROXY",
        ) from error
    except httpx.HTTPError as error:
        raise KitError(
            web_address.shown(f"the manifest could not be read from {url}: {error}"), fix="check the address"
        ) from None
    if len(answer.content) > MAX_BYTES:
        raise KitError(
            f"{web_address.shown(url)} is larger than 1 MiB, so it is not a manifest",
            fix="give the address of a YAML file",
        )
    return answer.text
