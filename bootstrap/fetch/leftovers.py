"""What lies in the store and no manifest needs, and how it is deleted: what others share stays whole."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap import volume
from bootstrap.choose.manifest import Manifest
from bootstrap.fetch import lease, store, twins

OWN = (store.LOCK_NAME, lease.LOCK_NAME, lease.LEASE_NAME)  # of a folder that is kept
UNFINISHED = (".part", ".part.journal", ".link", ".tmp")
SILENT_SECONDS = 600.0


@dataclass(frozen=True)
class Leftover:
    """A file or a whole folder; ``freed_bytes``: of contents that have no other name left then."""

    path: Path
    freed_bytes: int
    why: str


def unneeded(top: Path, known: Sequence[Manifest], used: Collection[Path]) -> list[Leftover]:
    """Old revisions, unfinished downloads, and files that no known manifest names.

    ``used`` are folders that a running box reads; they stay, as do those into which somebody fetches.
    """
    needed: dict[Path, set[str]] = {}
    for manifest in known:
        place = store.home(manifest.source, store=top)
        needed.setdefault(place, set()).update(file.kept_at for file in manifest.files)
    repositories = {place.parent for place in needed if place.parent != top}
    found: list[tuple[Path, str]] = []
    for home in _homes(top):
        if home in used or is_fetched_into(home):
            continue
        if home in needed:
            found += _beside(home, needed[home])
        elif home.parent in repositories:
            found.append((home, "another revision"))
        else:
            found.append((home, "no manifest that is known here names it"))
    return _weighed(found)


def of_model(top: Path, removed: Manifest, others: Sequence[Manifest]) -> list[Leftover]:
    """The files of a model, but for those that ``others`` need in the same folder."""
    home = store.home(removed.source, store=top)
    kept = {
        file.kept_at
        for other in others
        if store.home(other.source, store=top) == home
        for file in other.files
    }
    names = {file.kept_at for file in removed.files} - kept
    paths = [home / f"{name}{ending}" for name in names for ending in ("", ".part", ".part.journal")]
    return _weighed([(path, removed.name) for path in sorted(paths) if path.is_symlink() or path.exists()])


def delete(top: Path, leftovers: Sequence[Leftover]) -> None:
    """OSError when the disk refuses; what was deleted until then is gone."""
    doomed = {file for each in leftovers for file in _files(each.path)}
    links = [path for path in top.rglob("*") if path.is_symlink() and path not in doomed]
    heirs: dict[Path, list[Path]] = {}
    for link in links:
        heirs.setdefault(link.resolve(), []).append(link)
    for file in doomed:
        _hand_over(file, heirs.get(file.resolve(), []) if not file.is_symlink() else [])
    for each in leftovers:
        if each.path.is_dir():
            shutil.rmtree(each.path)
        else:
            each.path.unlink(missing_ok=True)
        _drop_empty(each.path.parent, top)


def is_fetched_into(home: Path) -> bool:
    """Whether a box, on whatever machine, is at it now."""
    silent = volume.silent_seconds(home / lease.LEASE_NAME)
    return silent is not None and silent < SILENT_SECONDS and lease.is_held(home)


def _hand_over(file: Path, heirs: list[Path]) -> None:
    """Where a volume has no hard links others point to this file: the first gets it, the rest point there."""
    if heirs:
        file.replace(heirs[0])
    for other in heirs[1:]:
        other.unlink()
        twins.point(heirs[0].resolve(), other)


def _homes(top: Path) -> Iterator[Path]:
    """As ``store.home`` names them: of the hub ``owner--name/revision``, of others one folder."""
    for folder in sorted(top.glob("*")):
        if folder.name.startswith(("url--", "folder--")):
            yield folder
        elif "--" in folder.name and folder.is_dir():
            yield from (each for each in sorted(folder.iterdir()) if each.is_dir())


def _beside(home: Path, names: set[str]) -> Iterator[tuple[Path, str]]:
    for path in _files(home):
        name = path.relative_to(home).as_posix()
        if name in names or name in OWN:
            continue
        is_unfinished = name.endswith(UNFINISHED)
        yield path, "an unfinished download" if is_unfinished else "no manifest that is known here names it"


def _files(path: Path) -> list[Path]:
    """The file itself, or all below a folder; a link is a file."""
    if path.is_symlink() or not path.is_dir():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_symlink() or not each.is_dir())


def _weighed(found: Sequence[tuple[Path, str]]) -> list[Leftover]:
    """A content is freed with the last of its names."""
    names: dict[tuple[int, int], int] = {}
    leftovers = []
    for path, why in found:
        freed = 0
        for file in _files(path):
            seen = file.lstat()
            key = (seen.st_dev, seen.st_ino)
            names[key] = names.get(key, 0) + 1
            if names[key] == seen.st_nlink and not file.is_symlink():
                freed += seen.st_blocks * 512 if file.name.endswith(".part") else seen.st_size
        leftovers.append(Leftover(path, freed, why))
    return leftovers


def _drop_empty(folder: Path, top: Path) -> None:
    """Folders in which nothing is left but the kit's own notes."""
    while folder != top and folder.is_dir():
        left = list(folder.iterdir())
        if any(each.is_dir() or each.name not in OWN for each in left):
            return
        for each in left:
            each.unlink()
        folder.rmdir()
        folder = folder.parent
