"""Addresses with a query or a user: taken out of what is shown, kept for the request.

Model sites ask for ``?type=…&token=…``, in the file's path or behind the folder's address. After ``hide``
neither path nor source holds anything of it, so that no error, log, lock or page can.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlsplit, urlunsplit

from bootstrap.choose.manifest import File, Manifest, Source


def hide(manifest: Manifest) -> Manifest:
    """The same manifest; files whose address holds more than a path have it as ``File.address`` alone."""
    files: list[File] = []
    renamed: dict[str, str] = {}
    for file in manifest.files:
        path = _path(file, manifest.source, [each.path for each in files])
        renamed[file.path] = path
        files.append(_hidden(file, manifest.source, path))
    components = {role: renamed.get(path, path) for role, path in manifest.components.items()}
    source = _clean(manifest.source)
    return manifest.model_copy(update={"files": tuple(files), "components": components, "source": source})


def hold_keys(manifest: Manifest) -> list[str]:
    """The files whose addresses in a manifest hold a user or a query; its text should go to nobody else."""
    return [file.path for file in manifest.files if file.address]


def _path(file: File, default: Source, taken: Sequence[str]) -> str:
    """Without its query; two that differ in nothing else get a number."""
    if not (file.source or default).url:
        return file.path
    path = file.path.partition("?")[0]
    names = [path, *(f"{path}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _hidden(file: File, default: Source, path: str) -> File:
    source = file.source or default
    own = _clean(file.source) if file.source else None
    if not source.url or (source.url == _clean(source).url and "?" not in file.path):
        return file.model_copy(update={"source": own})
    folder, (name, _, query) = urlsplit(source.url), file.path.partition("?")
    whole = f"{folder.path.rstrip('/')}/{quote(name)}"
    queries = "&".join(each for each in (folder.query, query) if each)
    return file.at(urlunsplit(folder._replace(path=whole, query=queries)), path=path, source=own)


def _clean(source: Source) -> Source:
    """Without query and user."""
    if not source.url:
        return source
    parts = urlsplit(source.url)
    clean = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
    return source if clean == source.url else source.model_copy(update={"url": clean})
