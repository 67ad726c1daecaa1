"""Downloads a model's files in parallel, verifies them while they arrive, and resumes after any stop.

``fetch`` takes a manifest and a store; every file that it returns was checked byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from bootstrap import pasted_secret, volume
from bootstrap.choose.manifest import Manifest
from bootstrap.fetch import run
from bootstrap.fetch import store as _store
from bootstrap.fetch.errors import GateClosed
from bootstrap.fetch.progress import FileProgress, Progress
from bootstrap.fetch.request import Request
from bootstrap.fetch.twins import Twins

__all__ = [
    "FileProgress",
    "GateClosed",
    "Progress",
    "fetch",
    "home",
    "missing_bytes",
    "missing_in",
    "saved_token",
]


def home(manifest: Manifest, *, store: Path) -> Path:
    """The folder that holds all of the manifest's files once they are fetched."""
    return _store.home(manifest.source, store=store.absolute())


def fetch(
    manifest: Manifest,
    *,
    store: Path,
    token: str | None,
    endpoint: str,
    mirrors: Sequence[str] = (),
    host_tokens: Mapping[str, str] | None = None,
    downloader: str = "kinokit",
    verify: bool = False,
    connections: int | None = None,
    arrived: Callable[[Path], None] = lambda _: None,
    report: Callable[[Progress], None],
) -> dict[str, Path]:
    """Get every file of the manifest and verify it; KitError when that is not possible.

    ``endpoint`` is the hub. Only the hub gets ``token``, for a gated model or when it asks, never ``mirrors``
    nor the storage that either redirects to. ``host_tokens`` are those of mirrors and of model sites, each
    for its own host. ``verify`` also hashes files that were verified before. ``connections`` fixes their
    number, which otherwise follows the link's rate. ``arrived`` is called with each file's absolute path as
    soon as the file is verified there, from any thread. The result maps a manifest's path to its place.
    """
    request = Request(
        manifest=manifest,
        home=home(manifest, store=store),
        token=token,
        endpoint=endpoint,
        mirrors=tuple(mirrors),
        host_tokens=dict(host_tokens or {}),
        downloader=downloader,
        verify=verify,
        connections=connections,
        twins=Twins(store.absolute()),
        arrived=arrived,
    )
    return run.run(request, report)


def saved_token() -> str | None:
    """The token of ``hf auth login`` on this box, for when no setting names one."""
    from huggingface_hub import get_token  # imported here: the boot does not wait for it

    try:
        found: str | None = pasted_secret.cleaned(get_token())
    except ValueError:
        return None
    return found


def missing_bytes(manifest: Manifest, *, store: Path) -> int:
    """The size of the files that are to be downloaded; touches nothing. What another model has is linked."""
    place, others = home(manifest, store=store), Twins(store.absolute())
    missing = _store.missing(manifest, place)
    return sum(file.bytes for file in missing if others.find(file, but=place / file.kept_at) is None)


def missing_in(data_dir: Path) -> Callable[[Manifest], int]:
    """``missing_bytes`` of the models that a data directory keeps."""
    return partial(missing_bytes, store=volume.models(data_dir))
