"""The test hub is like the real one: the real client cannot tell them apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import (
    HfApi,
    RepoFile,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests import hub
from tests.hub import Hub, Repo

FILES = {"config.json": b'{"a": 1}', "sub/model.safetensors": bytes(range(256)) * 4096}


@pytest.fixture
def server() -> Iterator[Hub]:
    with hub.serve() as running:
        yield running


@pytest.fixture
def repo(server: Hub) -> Repo:
    return server.add("studio/model", FILES)


def test_the_real_client_downloads_a_snapshot(server: Hub, repo: Repo, tmp_path: Path) -> None:
    found = snapshot_download(repo.name, endpoint=server.endpoint, cache_dir=tmp_path)
    assert {path: (Path(found) / path).read_bytes() for path in FILES} == FILES
    assert Path(found).name == repo.revision


def test_the_real_client_reads_the_metadata(server: Hub, repo: Repo) -> None:
    url = hf_hub_url(repo.name, "sub/model.safetensors", endpoint=server.endpoint, revision=repo.revision)
    about = get_hf_file_metadata(url)
    assert (about.commit_hash, about.size) == (repo.revision, len(FILES["sub/model.safetensors"]))
    assert about.etag == repo.sha256("sub/model.safetensors")
    assert about.location.startswith(server.storage)
    api = HfApi(endpoint=server.endpoint)
    assert api.model_info(repo.name).sha == repo.revision
    tree = {entry.path: entry for entry in api.list_repo_tree(repo.name, recursive=True)}
    model = tree["sub/model.safetensors"]
    assert isinstance(model, RepoFile)
    assert model.lfs is not None
    assert model.lfs.sha256 == about.etag


def test_the_real_client_sees_the_real_errors(server: Hub, repo: Repo, tmp_path: Path) -> None:
    server.add("studio/gated", FILES, gated=True)

    def download(name: str, path: str = "config.json", revision: str | None = None) -> None:
        hf_hub_download(name, path, revision=revision, endpoint=server.endpoint, cache_dir=tmp_path)

    with pytest.raises(GatedRepoError):
        download("studio/gated")
    with pytest.raises(RepositoryNotFoundError):
        download("studio/nothing")
    with pytest.raises(RevisionNotFoundError):
        download(repo.name, revision="f" * 40)
    with pytest.raises(EntryNotFoundError):
        download(repo.name, "none.json")


def test_the_token_reaches_the_hub_alone(server: Hub, repo: Repo, tmp_path: Path) -> None:
    server.allow("hf_x")
    hf_hub_download(
        repo.name, "sub/model.safetensors", endpoint=server.endpoint, cache_dir=tmp_path, token="hf_x"
    )
    hosts = {seen.host for seen in server.seen if "authorization" in seen.headers}
    assert hosts == {"hub"}
