"""Tokens, licences and what the hub refuses: told before a byte is fetched, and never told to others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bootstrap.choose.manifest import Licence, Source
from bootstrap.errors import KitError
from tests import hub
from tests.bootstrap.fetch.conftest import BIG, FILES, Model, manifest_of

PAGE = "https://hub.example/studio/gated"


@pytest.fixture
def gated(model: Model) -> Model:
    repo = model.server.add("studio/gated", FILES, gated=True)
    licence = Licence(id="community", url=PAGE, gated=True, accept_url=PAGE)
    return replace(model, repo=repo, manifest=manifest_of(repo).model_copy(update={"licence": licence}))


def test_without_a_token_the_page_to_accept_is_named(gated: Model) -> None:
    with pytest.raises(KitError, match=r"gated.* no HF_TOKEN is set") as refused:
        gated.fetch()
    assert PAGE in refused.value.fix
    assert gated.server.bytes_sent() == 0


def test_a_token_whose_account_has_not_accepted_is_told_which_page(gated: Model) -> None:
    gated.server.allow("hf_stranger", member=False)
    with pytest.raises(KitError, match="this HF_TOKEN has no access") as refused:
        gated.fetch(token="hf_stranger")
    assert PAGE in refused.value.fix and "hf_stranger" not in str(refused.value)


def test_a_token_that_is_not_valid_is_told_so(model: Model) -> None:
    model.server.repos[model.repo.name] = replace(model.repo, private=True)
    with pytest.raises(KitError, match="does not accept this HF_TOKEN"):
        model.fetch(token="hf_wrong")


def test_an_accepted_licence_opens_the_gate(gated: Model) -> None:
    gated.server.allow("hf_member")
    assert gated.is_right(gated.fetch(token="hf_member"))


def test_the_token_is_never_shown_to_the_storage(gated: Model) -> None:
    gated.server.allow("hf_member")
    gated.fetch(token="hf_member")
    storage = [seen for seen in gated.server.seen if seen.host == "storage"]
    assert storage and not any("authorization" in seen.headers for seen in storage)
    assert all(seen.headers.get("authorization") for seen in gated.server.seen if seen.host == "hub")


def test_a_hub_that_asks_for_nothing_is_told_nothing(model: Model) -> None:
    model.server.allow("hf_member")
    assert model.is_right(model.fetch(token="hf_member"))
    assert not any("authorization" in seen.headers for seen in model.server.seen)


def test_a_private_repository_is_opened_by_the_token(model: Model) -> None:
    model.server.repos[model.repo.name] = replace(model.repo, private=True)
    model.server.allow("hf_member")
    assert model.is_right(model.fetch(token="hf_member"))


def test_where_the_hub_limits_strangers_the_token_is_shown(model: Model) -> None:
    model.server.allow("hf_member")
    model.server.fault("status", BIG, where="hub", status=429)
    assert model.is_right(model.fetch(token="hf_member"))
    shown = [seen.path for seen in model.server.seen if "authorization" in seen.headers]
    assert shown and all(path == BIG for path in shown)


def test_a_mirror_that_refuses_leaves_the_fetch_to_the_hub(gated: Model) -> None:
    gated.server.allow("hf_member")
    with hub.serve() as mirror:
        mirror.repos = gated.server.repos
        assert gated.is_right(gated.fetch(token="hf_member", mirrors=(mirror.endpoint,)))
        assert not any("authorization" in seen.headers for seen in mirror.seen)


def test_a_mirror_gets_its_own_token_alone(gated: Model) -> None:
    with hub.serve() as mirror:
        mirror.repos = gated.server.repos
        mirror.allow("m1rror")
        gated.server.fault("status", where="hub", times=None)
        tokens = {mirror.endpoint.removeprefix("http://"): "m1rror", "other.example": "x"}
        found = gated.fetch(token="hf_member", mirrors=(mirror.endpoint,), host_tokens=tokens)
        assert gated.is_right(found)
        sent = {seen.headers.get("authorization") for seen in mirror.seen if seen.host == "hub"}
        assert sent == {"Bearer m1rror"}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"repo": "studio/nothing"}, "has no repository studio/nothing, or it is private"),
        ({"revision": "f" * 40}, "has no revision f"),
    ],
)
def test_what_is_not_there_is_named(model: Model, source: dict[str, str], problem: str) -> None:
    wrong = Source(**{"repo": model.repo.name, "revision": model.repo.revision, **source})
    model.manifest = model.manifest.model_copy(update={"source": wrong})
    with pytest.raises(KitError, match=problem):
        model.fetch()


def test_a_file_that_is_not_there_is_named(model: Model) -> None:
    file = model.manifest.files[0].model_copy(update={"path": "unet/other.safetensors"})
    model.manifest = model.manifest.model_copy(update={"files": (*model.manifest.files, file)})
    with pytest.raises(KitError, match=r"has no file unet/other\.safetensors"):
        model.fetch()
    assert model.server.bytes_sent() == 0
