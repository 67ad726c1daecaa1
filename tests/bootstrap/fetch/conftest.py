"""A hub with one model, and a way to fetch it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bootstrap import fetch
from bootstrap.choose.manifest import Manifest
from bootstrap.fetch import Progress, run
from bootstrap.fetch.request import Request
from bootstrap.fetch.transfers.patience import Patience
from bootstrap.fetch.twins import Twins
from tests import hub
from tests.hub import Hub, Repo

MIB = 1024**2
QUICK = Patience(without_progress=6, to_begin=2, stalled=1.0, strikes=4)


def noise(count: int, seed: int = 0) -> bytes:
    """Bytes that no gzip makes smaller, the same at each run."""
    return random.Random(seed).randbytes(count)


FILES = {
    "unet/model.safetensors": noise(34 * MIB + 12345, 1),
    "vae/model.safetensors": noise(3 * MIB, 2),
    "model_index.json": b'{"_class_name": "StableVideoDiffusionPipeline"}\n',
}
BIG = "unet/model.safetensors"


@dataclass
class Model:
    """A published model and the folder that it is fetched into."""

    server: Hub
    repo: Repo
    store: Path
    manifest: Manifest
    reports: list[Progress] = field(default_factory=list)

    def fetch(self, **changes: Any) -> dict[str, Path]:
        request = Request(
            manifest=self.manifest,
            home=self.home,
            token=None,
            endpoint=self.server.endpoint,
            mirrors=(),
            downloader="kinokit",
            verify=False,
            connections=None,
            twins=Twins(self.store),
            patience=QUICK,
        )
        return run.run(replace(request, **changes), self.reports.append)

    @property
    def home(self) -> Path:
        return fetch.home(self.manifest, store=self.store)

    @property
    def missing_bytes(self) -> int:
        return fetch.missing_bytes(self.manifest, store=self.store)

    def is_right(self, found: dict[str, Path]) -> bool:
        return {path: place.read_bytes() for path, place in found.items()} == FILES

    def with_files(self, **changes: Any) -> Model:
        """The same model, each file of its manifest changed."""
        files = tuple(file.model_copy(update=changes) for file in self.manifest.files)
        return replace(self, manifest=self.manifest.model_copy(update={"files": files}))

    def only(self, path: str) -> Model:
        """The same model with one file."""
        files = tuple(file for file in self.manifest.files if file.path == path)
        return replace(self, manifest=self.manifest.model_copy(update={"files": files}))


def manifest_of(repo: Repo, **changes: Any) -> Manifest:
    """A manifest of everything in the repository, with its true digests."""
    document: dict[str, Any] = {
        "name": "small",
        "title": "Small",
        "summary": "A model for tests",
        "family": "svd",
        "inputs": ["image"],
        "licence": {"id": "apache-2.0", "url": "https://example.org/licence"},
        "source": {"repo": repo.name, "revision": repo.revision},
        "files": [
            {
                "path": path,
                "bytes": len(data),
                "sha256": repo.sha256(path) if repo.is_lfs(path) else None,
                "git_oid": None if repo.is_lfs(path) else repo.git_oid(path),
            }
            for path, data in repo.files.items()
        ],
        "components": {"unet": BIG, "pipeline": "unet"},
        "limits": {},
        "profiles": [{"name": "only", "title": "Only", "needs": {"device": "cpu"}}],
    }
    return Manifest.model_validate({**document, **changes})


@pytest.fixture
def server() -> Iterator[Hub]:
    with hub.serve() as running:
        yield running


@pytest.fixture
def model(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    no_cache(monkeypatch, tmp_path)
    repo = server.add("studio/small", FILES)
    return Model(server, repo, tmp_path / "models", manifest_of(repo))


def no_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Tests never look into the hub cache of the machine they run on."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "no-hub-cache"))


Fetch = Callable[..., dict[str, Path]]
