"""Files behind a key in their address: fetched, and the key is nowhere afterwards."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from bootstrap.choose import reading
from bootstrap.choose.reading import BadManifest
from bootstrap.cli import app
from tests.bootstrap.fetch.conftest import noise
from tests.hub.server import certificate
from tests.support import proxying
from tests.support.answering import Asked, serving
from tests.support.proxying import Proxied

KEY = "s3cretkey"
LOGIN = "Basic bWU6czNjcmV0a2V5"  # me:s3cretkey
DATA = noise(700_000)
MANIFEST = """
name: mine
title: Mine
summary: A model of a site that asks for a key.
family: svd
inputs: [image]
licence: {id: mit, url: "https://example.org/licence"}
source: {url: "%(url)s"}
files:
%(files)s
components: {pipeline: "."}
limits: {}
profiles: [{name: cpu, title: CPU, needs: {device: cpu}}]
"""


class Site:
    """Answers as model sites do: 401 without the key, else a redirect to storage that knows no HEAD."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str | None]] = []  # method, target, Authorization

    def __call__(self, asked: Asked) -> None:
        at = urlsplit(asked.path)
        query, authorization = parse_qs(at.query), asked.headers.get("Authorization")
        self.seen.append((asked.command, asked.path, authorization))
        if at.path == "/store":
            self._store(asked)
        elif query.get("token") == [KEY] or authorization in (LOGIN, f"Bearer {KEY}"):
            asked.reply(307, Location=f"/store?name={at.path}&X-Amz-Expires=3600&X-Amz-Signature={KEY}")
        else:
            asked.reply(401)

    def _store(self, asked: Asked) -> None:
        if asked.command == "HEAD":
            asked.reply(403)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("Range", ""))
        assert found, "ranges alone are asked for"
        first, last = int(found[1]), min(int(found[2]), len(DATA) - 1)
        asked.reply(206, DATA[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(DATA)}")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def address(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pair = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    with serving(site, tls=pair) as running:
        yield running


def written(folder: Path, url: str, *paths: str, target: bool = True) -> Path:
    """A manifest of files that are all alike."""
    lines = []
    for number, path in enumerate(paths):
        lines += [f"  - path: '{path}'", f"    bytes: {len(DATA)}"]
        lines += [f"    sha256: {hashlib.sha256(DATA).hexdigest()}"]
        lines += [f"    target: weights-{number}.safetensors"] if target else []
    file = folder / "mine.yaml"
    file.write_text(MANIFEST % {"url": url, "files": "\n".join(lines)})
    return file


def fetch(manifest: Path, data_dir: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli", "fetch", "--model", str(manifest)]
    command += ["--data-dir", str(data_dir)]
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False
    )


def kept(data_dir: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("url", "paths"),
    [
        ("{}/api/models", ["123?type=Model&format=SafeTensor&token=" + KEY]),
        ("{}/api/models?token=" + KEY, ["123"]),
        ("{}/api/models?token=" + KEY, ["123?type=Model", "123?type=VAE"]),
        ("{login}/api/models", ["123?type=Model"]),
    ],
)
@pytest.mark.parametrize("target", [True, False])
def test_a_file_behind_a_key_is_fetched_and_the_key_is_nowhere(
    site: Site, address: str, tmp_path: Path, url: str, paths: list[str], target: bool
) -> None:
    login = address.replace("https://", f"https://me:{KEY}@")
    manifest = written(tmp_path, url.format(address, login=login), *paths, target=target)
    done = fetch(manifest, tmp_path / "data")
    assert done.returncode == 0, done.stdout + done.stderr
    files = kept(tmp_path / "data")
    assert sum(content == DATA for content in files.values()) == len(paths)
    assert KEY not in done.stdout + done.stderr + "".join(files)
    assert not any(KEY.encode() in content for content in files.values())
    assert not any(authorization for _, target, authorization in site.seen if target.startswith("/store"))


@pytest.mark.parametrize("variable", ["CIVITAI_TOKEN", "CIVITAI_API_TOKEN", "KINOKIT_CIVITAI_TOKEN"])
def test_civitais_key_goes_to_civitai_alone(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    pair = certificate(tmp_path, "civitai.com")
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    with serving(site, tls=pair) as running, proxying.http(Proxied({"civitai.com": "127.0.0.1"})) as proxy:
        port = running.rpartition(":")[2]
        manifest = written(tmp_path, f"https://civitai.com:{port}/api/download/models", "778?type=Model")
        done = fetch(manifest, tmp_path / "data", **{variable: f" {KEY}\n", "HTTPS_PROXY": proxy.address})
    assert done.returncode == 0, done.stdout + done.stderr
    sent = {target.partition("?")[0]: authorization for _, target, authorization in site.seen}
    assert sent == {"/api/download/models/778": f"Bearer {KEY}", "/store": None}
    assert KEY not in done.stdout + done.stderr
    assert not any(KEY.encode() in content for content in kept(tmp_path / "data").values())


def test_without_its_key_civitai_is_named_with_the_variable_to_set(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = certificate(tmp_path, "civitai.com")
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    with serving(site, tls=pair) as running, proxying.http(Proxied({"civitai.com": "127.0.0.1"})) as proxy:
        port = running.rpartition(":")[2]
        manifest = written(tmp_path, f"https://civitai.com:{port}/api/download/models", "778")
        done = fetch(manifest, tmp_path / "data", HTTPS_PROXY=proxy.address, HF_TOKEN="hf_other")
    assert done.returncode == 1 and "set CIVITAI_TOKEN" in done.stdout + done.stderr
    assert {authorization for _, _, authorization in site.seen} == {None}


@pytest.mark.parametrize("named", ["{place}", "{host}", "other.test=x,https://{place}/api"])
def test_any_host_may_have_a_key_of_its_own(site: Site, address: str, tmp_path: Path, named: str) -> None:
    place = address.removeprefix("https://")
    named = named.format(place=place, host=place.partition(":")[0])
    manifest = written(tmp_path, f"{address}/api", "778")
    done = fetch(manifest, tmp_path / "data", KINOKIT_MIRROR_TOKENS=f"{named}={KEY}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr


def test_a_page_to_sign_in_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def to_the_door(asked: Asked) -> None:
        if asked.path.startswith("/login"):
            asked.reply(200, b"<html>")
        else:
            asked.reply(307, Location="/login?returnUrl=%2Fmodels&reason=download-auth")

    pair = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    with serving(to_the_door, tls=pair) as running:
        done = fetch(written(tmp_path, f"{running}/api", "778"), tmp_path / "data")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "redirects to a page to sign in" in said
    assert "KINOKIT_MIRROR_TOKENS" in said


def test_a_wrong_key_is_told_without_showing_it(address: str, tmp_path: Path) -> None:
    manifest = written(tmp_path, f"{address}/api/models", f"123?type=Model&token=wrong-{KEY}")
    done = fetch(manifest, tmp_path / "data")
    assert done.returncode == 1 and "refuses 123 (status 401)" in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr


@pytest.mark.parametrize("target", [True, False])
def test_after_loading_only_the_request_knows_the_key(tmp_path: Path, target: bool) -> None:
    url = f"https://me:{KEY}@site.test/models?token={KEY}"
    loaded = reading.load(str(written(tmp_path, url, f"1 2?token={KEY}", "1 2?b", target=target)))
    assert KEY not in repr(loaded) + loaded.model_dump_json() + str([file.kept_at for file in loaded.files])
    assert [file.path for file in loaded.files] == ["1 2", "1 2-2"]
    assert loaded.files[0].address == f"https://me:{KEY}@site.test/models/1%202?token={KEY}&token={KEY}"
    assert loaded.source.url == "https://site.test/models"


def test_components_follow_the_files_that_they_name(tmp_path: Path) -> None:
    path = written(tmp_path, "https://site.test/models", f"123?token={KEY}", target=False)
    path.write_text(path.read_text().replace('pipeline: "."', f'pipeline: "123?token={KEY}"'))
    assert reading.load(str(path)).components == {"pipeline": "123"}


def test_manifest_check_says_that_a_manifest_holds_keys(tmp_path: Path) -> None:
    path = written(tmp_path, "https://site.test/models", f"123?token={KEY}", "456")
    result = CliRunner().invoke(app, ["manifest", "check", str(path)])
    assert "the addresses of 123 hold a query or a user" in result.output and KEY not in result.output


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://site.test/models?token={KEY}", "must begin with https://"),
        ("https://site.test/models#main", "must not have a #fragment"),
        ("https:///models", "is no address of a host"),
        ("https://site.test/my models", "is no address of a host"),
        ("https://site.test:port/models", "is no address of a host"),
    ],
)
def test_an_address_that_cannot_work_is_a_mistake_of_the_manifest(
    tmp_path: Path, url: str, said: str
) -> None:
    with pytest.raises(BadManifest, match=re.escape(said)) as wrong:
        reading.load(str(written(tmp_path, url, f"123?token={KEY}")))
    assert KEY not in str(wrong.value)


def test_a_file_of_a_repo_with_a_query_is_a_mistake(tmp_path: Path) -> None:
    path = written(tmp_path, "https://x.test", "weights.safetensors?download=true")
    path.write_text(path.read_text().replace('url: "https://x.test"', f"repo: a/b, revision: {'0' * 40}"))
    with pytest.raises(BadManifest, match="a file of a repo has no query"):
        reading.load(str(path))
