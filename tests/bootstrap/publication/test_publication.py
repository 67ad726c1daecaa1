"""The printed line fetches what was really published, wherever that is, or nothing is printed."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bootstrap import publication
from bootstrap.cli import app
from bootstrap.errors import KitError
from bootstrap.publication import forge
from tests.bootstrap.publication import repositories
from tests.bootstrap.publication.repositories import SCRIPT, Checkout

DIGEST = hashlib.sha256(SCRIPT.encode()).hexdigest()
SHA = "0123456789abcdef0123456789abcdef01234567"
FORGES = {
    "https://github.com/ada/kit.git": (
        "https://github.com/ada/kit.git",
        "https://raw.githubusercontent.com/ada/kit/{ref}/scripts/start.sh",
    ),
    "git@github.com:ada/kit.git": (
        "https://github.com/ada/kit.git",
        "https://raw.githubusercontent.com/ada/kit/{ref}/scripts/start.sh",
    ),
    "ssh://git@ssh.github.com:443/ada/kit": (
        "https://github.com/ada/kit.git",
        "https://raw.githubusercontent.com/ada/kit/{ref}/scripts/start.sh",
    ),
    "https://oauth2:s3cret@gitlab.com/group/team/kit.git": (
        "https://gitlab.com/group/team/kit.git",
        "https://gitlab.com/group/team/kit/-/raw/{ref}/scripts/start.sh",
    ),
    "https://gitlab.example.org:8443/ada/kit": (
        "https://gitlab.example.org:8443/ada/kit.git",
        "https://gitlab.example.org:8443/ada/kit/-/raw/{ref}/scripts/start.sh",
    ),
    "ssh://git@codeberg.org/ada/kit.git": (
        "https://codeberg.org/ada/kit.git",
        "https://codeberg.org/ada/kit/raw/{kind}/{ref}/scripts/start.sh",
    ),
    "http://gitea.lan.example:3000/ada/kit/": (
        "http://gitea.lan.example:3000/ada/kit.git",
        "http://gitea.lan.example:3000/ada/kit/raw/{kind}/{ref}/scripts/start.sh",
    ),
    "git@bitbucket.org:ada/kit.git": (
        "https://bitbucket.org/ada/kit.git",
        "https://bitbucket.org/ada/kit/raw/{ref}/scripts/start.sh",
    ),
    "https://gitee.com/ada/kit.git": (
        "https://gitee.com/ada/kit.git",
        "https://gitee.com/ada/kit/raw/{ref}/scripts/start.sh",
    ),
}


@pytest.fixture
def kit(tmp_path: Path) -> Checkout:
    return repositories.checkout(tmp_path)


@pytest.mark.parametrize("remote", FORGES)
@pytest.mark.parametrize("ref", ["v1.0.0", SHA])
def test_every_form_of_a_remote_leads_to_addresses_without_credentials(remote: str, ref: str) -> None:
    clone, raw = FORGES[remote]
    found = forge.repository(remote)
    assert found is not None
    assert found.clone_url == clone
    kind = "commit" if ref == SHA else "tag"
    assert found.raw("scripts/start.sh", ref) == raw.format(ref=ref, kind=kind)


@pytest.mark.parametrize(
    ("remote", "folder"),
    [
        ("git@github.com:ada/kit.git", "https://github.com/ada/kit/releases/download/v1.2.0"),
        ("https://codeberg.org/ada/kit", "https://codeberg.org/ada/kit/releases/download/v1.2.0"),
        (
            "git@gitlab.com:group/team/kit.git",
            "https://gitlab.com/api/v4/projects/group%2Fteam%2Fkit/packages/generic/kinokit/1.2.0",
        ),
        ("git@bitbucket.org:ada/kit.git", None),
    ],
)
def test_a_forge_says_where_the_files_of_a_release_lie(remote: str, folder: str | None) -> None:
    found = forge.repository(remote)
    assert found is not None
    assert found.release_url("v1.2.0") == folder


@pytest.mark.parametrize(
    "remote",
    [
        "/srv/kit.git",
        "../kit",
        "file:///srv/kit.git",
        "C:\\kit",
        "localhost:kit.git",
        "http://localhost:3000/ada/kit",
        "http://127.0.0.1:3000/ada/kit",
        "https://[::1]/ada/kit",
        "https://github.com",
        "https://host:port/ada/kit",
        "nas:ada/kit",
        "",
    ],
)
def test_a_remote_that_no_box_reaches_is_no_repository(remote: str) -> None:
    assert forge.repository(remote) is None


def test_a_commit_that_was_pushed_is_named_and_its_script_known(kit: Checkout) -> None:
    kit.call_remote("git@github.com:ada/kit.git")
    found = publication.find(None, None, root=kit.root)
    assert found.source == f"https://github.com/ada/kit.git@{kit.commit}"
    assert found.script_url == f"https://raw.githubusercontent.com/ada/kit/{kit.commit}/scripts/start.sh"
    assert found.script_sha256 == DIGEST
    assert found.notes == ()


def test_a_tag_of_the_commit_is_named_in_its_place(kit: Checkout) -> None:
    kit.call_remote("https://codeberg.org/ada/kit")
    for tag in ("v0.9.0", "v0.10.0", "odd~name"):
        kit.git("update-ref", f"refs/tags/{tag.replace('~', '@')}", "HEAD")
    found = publication.find(None, None, root=kit.root)
    assert found.source == "https://codeberg.org/ada/kit.git@v0.10.0"
    assert found.script_url == "https://codeberg.org/ada/kit/raw/tag/v0.10.0/scripts/start.sh"


def test_what_was_not_pushed_is_refused_with_the_commit(kit: Checkout) -> None:
    kit.call_remote("git@github.com:ada/kit.git")
    kit.commit_all("second")
    with pytest.raises(KitError) as error:
        publication.find(None, None, root=kit.root)
    assert kit.commit[:12] in error.value.problem
    assert "git push" in error.value.fix


def test_a_tag_that_only_this_machine_may_have_is_doubted(kit: Checkout) -> None:
    kit.call_remote("git@github.com:ada/kit.git")
    kit.commit_all("second")
    kit.git("tag", "v2")
    found = publication.find(None, None, root=kit.root)
    assert found.notes == ("the line needs the tag v2 on the remote: git push origin v2.",)


def test_changes_that_no_box_gets_are_told(kit: Checkout) -> None:
    kit.call_remote("git@github.com:ada/kit.git")
    kit.change("another text")
    (note,) = publication.find(None, None, root=kit.root).notes
    assert "without your changes to 1 file." in note


def test_a_clone_by_one_tag_is_enough(kit: Checkout, tmp_path: Path) -> None:
    kit.git("tag", "v1")
    kit.git("push", "-q", "origin", "v1")
    clone = Checkout(tmp_path / "clone")
    kit.git("clone", "-q", "--depth=1", "--branch=v1", f"file://{tmp_path}/remote.git", str(clone.root))
    clone.call_remote("https://github.com/ada/kit")
    assert publication.find(None, None, root=clone.root).source == "https://github.com/ada/kit.git@v1"


def test_a_mirror_of_this_machine_is_not_what_others_are_told(kit: Checkout, tmp_path: Path) -> None:
    kit.call_remote("https://github.com/ada/kit")
    kit.git("config", f"url.{tmp_path}/remote.git.insteadOf", "https://github.com/ada/kit")
    assert "github.com" in str(publication.find(None, None, root=kit.root).source)
    kit.call_remote("hub:ada/kit")
    kit.git("config", "url.https://github.com/.insteadOf", "hub:")
    assert "github.com/ada/kit" in str(publication.find(None, None, root=kit.root).source)


def test_a_single_remote_of_another_name_is_taken(kit: Checkout) -> None:
    kit.call_remote("https://github.com/ada/kit")
    kit.git("remote", "rename", "origin", "upstream")
    assert "github.com/ada/kit" in str(publication.find(None, None, root=kit.root).source)


def test_a_forge_that_is_not_known_is_named_with_what_to_give(kit: Checkout) -> None:
    kit.call_remote("https://ada:s3cret@git.example.org/ada/kit.git")
    with pytest.raises(KitError) as error:
        publication.find(None, None, root=kit.root)
    assert "https://git.example.org is no forge" in error.value.problem
    assert "--script-url" in error.value.fix
    assert "s3cret" not in str(error.value)
    found = publication.find(None, "https://git.example.org/start.sh", root=kit.root)
    assert found.source == f"https://git.example.org/ada/kit.git@{kit.commit}"
    assert found.script_sha256 is None


def test_a_checkout_without_a_public_remote_refuses_and_says_how_to_publish(kit: Checkout) -> None:
    for _ in range(2):
        with pytest.raises(KitError) as error:
            publication.find(None, None, root=kit.root)
        assert "no public address" in error.value.problem
        assert "docs/publishing.md" in error.value.fix
        if kit.git("remote"):
            kit.git("remote", "remove", "origin")


def test_code_that_came_from_nowhere_refuses(tmp_path: Path) -> None:
    with pytest.raises(KitError) as error:
        publication.find(None, None, root=tmp_path)
    assert "no git checkout" in error.value.problem
    assert "docs/publishing.md" in error.value.fix


def test_a_checkout_that_git_cannot_read_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(KitError, match="git cannot read the checkout"):
        publication.find(None, None, root=tmp_path)


def release(url: str | None = "https://example.org/v1/", digest: str | None = "f" * 64) -> str:
    return json.dumps(
        {
            "version": "1.0.0",
            "url": url,
            "script": {"file": "start.sh", "sha256": DIGEST},
            "wheel": {"file": "kinokit-1.0.0-py3-none-any.whl", "sha256": digest},
        }
    )


def test_a_wheel_knows_the_release_that_it_came_from(tmp_path: Path) -> None:
    folder = tmp_path / "bootstrap/publication"
    folder.mkdir(parents=True)
    (folder / "release.json").write_text(release(digest=None))
    found = publication.find(None, None, root=tmp_path)
    assert found.source == "https://example.org/v1/kinokit-1.0.0-py3-none-any.whl"
    assert (found.script_url, found.script_sha256) == ("https://example.org/v1/start.sh", DIGEST)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_release_on_the_net_is_a_source_wherever_it_lies_now(tmp_path: Path, server: str) -> None:
    (tmp_path / "release.json").write_text(release())
    found = publication.find(f"{server}/release.json", None)
    assert found.source == f"{server}/kinokit-1.0.0-py3-none-any.whl#sha256={'f' * 64}"
    assert (found.script_url, found.script_sha256) == (f"{server}/start.sh", DIGEST)
    with pytest.raises(KitError, match="404"):
        publication.find(f"{server}/v2/release.json", None)


def test_a_release_in_a_folder_says_where_it_was_uploaded(tmp_path: Path) -> None:
    path = tmp_path / "release.json"
    path.write_text(release())
    assert publication.find(str(path), None).script_url == "https://example.org/v1/start.sh"
    path.write_text(release(url=None))
    with pytest.raises(KitError, match="does not say where the release was uploaded"):
        publication.find(str(path), None)
    path.write_text("<html>")
    with pytest.raises(KitError, match=r"is not the release\.json"):
        publication.find(str(path), None)


@pytest.mark.parametrize(
    ("source", "script_url"),
    [
        ("https://gitlab.com/a/b.git@v1", "https://gitlab.com/a/b/-/raw/v1/scripts/start.sh"),
        ("git+https://github.com/a/b.git@v1", "https://raw.githubusercontent.com/a/b/v1/scripts/start.sh"),
        ("https://example.org/v1/kinokit-1-py3-none-any.whl", "https://example.org/v1/start.sh"),
    ],
)
def test_a_source_alone_names_its_script_too(tmp_path: Path, source: str, script_url: str) -> None:
    found = publication.find(source, None, root=tmp_path)
    assert (found.source, found.script_url) == (source, script_url)


def test_a_source_that_does_not_lead_to_a_script_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(KitError) as error:
        publication.find("kinokit==1.0.0", None, root=tmp_path)
    assert "--script-url" in error.value.fix
    found = publication.find("kinokit==1.0.0", "https://example.org/start.sh", root=tmp_path)
    assert found.source == "kinokit==1.0.0"


def test_an_image_that_starts_the_kit_itself_needs_no_address(tmp_path: Path) -> None:
    assert publication.find(None, "", root=tmp_path).script_url is None


@pytest.mark.parametrize("name", ["--source", "--script-url"])
def test_credentials_in_an_address_are_refused_and_not_shown(name: str) -> None:
    arguments = ["startup", "--platform", "vast", "--model", "demo", name, "https://ada:s3cret@example.org/x"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, KitError)
    assert "holds credentials" in str(result.exception)
    assert "s3cret" not in str(result.exception) + result.output


def test_addresses_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kinokit.yaml").write_text(
        "source: https://gitlab.com/a/b.git@v1\nbox_image: debian:12\n", encoding="utf-8"
    )
    result = CliRunner().invoke(app, ["startup", "--platform", "runpod", "--model", "demo", "--json"])
    call = json.loads(result.output)
    assert call["body"]["env"]["KINOKIT_SOURCE"] == "https://gitlab.com/a/b.git@v1"
    assert call["body"]["imageName"] == "debian:12"
    assert "https://gitlab.com/a/b/-/raw/v1/scripts/start.sh" in call["body"]["dockerStartCmd"][0]
    monkeypatch.setenv("KINOKIT_SOURCE", "https://gitlab.com/a/b.git@v2")
    result = CliRunner().invoke(app, ["startup", "--platform", "runpod", "--model", "demo", "--json"])
    assert json.loads(result.output)["body"]["env"]["KINOKIT_SOURCE"].endswith("@v2")
