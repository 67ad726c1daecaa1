"""Filling in a manifest's sizes and hashes from the hub, at the pinned revision, with its comments kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bootstrap import files
from bootstrap.choose.manifest import File, Manifest, Source
from bootstrap.errors import KitError


@dataclass(frozen=True)
class Known:
    """What the hub says of a file. ``sha256`` is None for files outside of LFS, which have a git id alone."""

    bytes: int
    sha256: str | None
    git_oid: str | None


@dataclass(frozen=True)
class Change:
    """One value that was filled in or corrected."""

    path: str
    key: str
    old: str | None
    new: str


def ask(manifest: Manifest, *, endpoint: str, token: str | None) -> dict[str, Known]:
    """What the hub knows of the manifest's files, by path. KitError when it cannot be asked."""
    known: dict[str, Known] = {}
    by_source: dict[Source, list[File]] = {}
    for file in manifest.files:
        by_source.setdefault(file.source or manifest.source, []).append(file)
    for source, wanted in by_source.items():
        if source.repo is None:
            continue
        found = _ask_repo(source, [file.path for file in wanted], endpoint, token, manifest)
        missing = [file.path for file in wanted if file.path not in found]
        if missing:
            raise KitError(
                f"{source.repo} has no {', '.join(missing)} at {source.revision}",
                fix="correct the paths or the revision in the manifest",
            )
        known.update(found)
    return known


def _ask_repo(
    source: Source, paths: list[str], endpoint: str, token: str | None, manifest: Manifest
) -> dict[str, Known]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the one that the hub uses

    repo, revision = str(source.repo), str(source.revision)
    try:
        answer = HfApi(endpoint=endpoint, token=token or False).get_paths_info(repo, paths, revision=revision)
    except GatedRepoError as error:
        page = manifest.licence.accept_url or f"{endpoint}/{repo}"
        raise KitError(
            f"{repo} is gated and {'the token is refused' if token else 'no HF_TOKEN is set'}",
            fix=f"accept the licence at {page} and set HF_TOKEN to a token of that account",
        ) from error
    except RevisionNotFoundError as error:
        raise KitError(f"{repo} has no revision {revision}", fix="pin a commit that exists") from error
    except RepositoryNotFoundError as error:
        raise KitError(
            f"{repo} is not on {endpoint}, or it is private",
            fix="check the name; set HF_TOKEN when it is private",
        ) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise KitError(
            f"{endpoint} could not be asked about {repo}: {error}", fix="check the network, then try again"
        ) from error
    return {
        each.path: Known(each.size, each.lfs.sha256 if each.lfs else None, None if each.lfs else each.blob_id)
        for each in answer
        if isinstance(each, RepoFile)
    }


def fill(text: str, manifest: Manifest, known: Mapping[str, Known]) -> tuple[str, list[Change]]:
    """The manifest's text with what the hub knows, and what was changed. Only these values are touched.

    KitError when a hash that is written there contradicts the hub: that is never overwritten.
    """
    edits: list[tuple[int, int, str]] = []
    changes: list[Change] = []
    for file, node in zip(manifest.files, _file_nodes(text), strict=True):
        if file.path not in known:
            continue
        for key, old, new in _wanted(file, known[file.path]):
            edits.append(_edit(text, node, key, new))
            changes.append(Change(file.path, key, old, new))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text, changes


def _wanted(file: File, hub: Known) -> Iterator[tuple[str, str | None, str]]:
    """Key, old and new value of what is to be changed in one file."""
    for key, old, new in (("sha256", file.sha256, hub.sha256), ("git_oid", file.git_oid, hub.git_oid)):
        if old is not None and new is not None and old != new:
            raise KitError(
                f"{file.path}: the manifest says {key} {old}, the hub says {new}",
                fix="find out which is right before you use the file; remove the line to take the hub's",
            )
        if new is not None and old is None:
            yield key, old, new
    if file.bytes != hub.bytes:
        yield "bytes", str(file.bytes), str(hub.bytes)


def _file_nodes(text: str) -> list[yaml.MappingNode]:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    files = next(value for key, value in root.value if key.value == "files")
    return list(files.value)


def _edit(text: str, node: yaml.MappingNode, key: str, new: str) -> tuple[int, int, str]:
    """Replace the value of a key, or write the key behind ``bytes`` in the style of the entry."""
    pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {name.value: (name, value) for name, value in node.value}
    if key in pairs:
        name, value = pairs[key]
        start, end = value.start_mark.index, value.end_mark.index
        # "sha256:" without a value has an empty node whose place is the next line
        return (
            (start, end, new)
            if end > start
            else (name.end_mark.index + 1, name.end_mark.index + 1, f" {new}")
        )
    name, value = pairs["bytes"]
    end = value.end_mark.index
    separator = ", " if node.flow_style else "\n" + " " * name.start_mark.column
    return end, end, f"{separator}{key}: {new}"


def write(path: Path, text: str) -> None:
    """Replace the manifest in one step."""
    try:
        files.replace_text(path, text)
    except OSError as error:
        raise KitError(
            f"{path} cannot be written: {error.strerror}", fix="write elsewhere with --output"
        ) from error


def unknown_hashes(manifest: Manifest) -> list[str]:
    """Files of which the manifest knows no hash at all."""
    return [file.path for file in manifest.files if file.sha256 is None and file.git_oid is None]
