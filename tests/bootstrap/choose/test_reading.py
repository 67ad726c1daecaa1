"""Bad manifests tell all of their mistakes at once, each with its line; the shipped ones have none."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.choose import reading
from bootstrap.choose.manifest import MANIFEST_FOLDER
from bootstrap.choose.reading import BadManifest
from bootstrap.commands.manifest import schema_text
from bootstrap.errors import KitError

GOOD = """\
name: anime
title: An anime variant of SVD-XT
summary: A community fine-tune.
family: svd
inputs: [image]
licence:
  id: openrail
  url: https://example.org/licence
source:
  repo: somebody/svd-anime
  revision: 9e43909513c6714f1bc78bcb44d96e733cd242aa
files:
  - path: model_index.json
    bytes: 496
    git_oid: 814cc99f8674db1df84d0fff0d4e5535e745d328
  - path: unet/diffusion_pytorch_model.fp16.safetensors
    bytes: 3049435868
    sha256: 9fbc02e90f37d422f5e3a4aeaee95f6629dc8c45ca211b951626e930daf2bddf
components:
  pipeline: "."
defaults:
  size: 1024x576
  num_frames: 25
limits:
  size_multiple: 64
  frames: [14, 25]
profiles:
  - name: full
    title: Everything on the GPU
    needs: {vram_gib: 16}
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(BadManifest) as error:
        reading.parse(text, "anime.yaml")
    return [str(mistake) for mistake in error.value.mistakes]


def test_the_good_one_is_good() -> None:
    assert reading.parse(GOOD, "anime.yaml").name == "anime"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("name: anime", "name: [anime", "line 2: not valid YAML"),
        ("title: An", "\ttitle: An", "line 2: not valid YAML"),
        ("name: anime", "name: !!python/object:os.system x", "line 1: not valid YAML"),
        ("bytes: 496", "bytes: 496\n    bytes: 497", "line 15, files[0].bytes: is written twice"),
        ("summary:", "sumary:", "line 3, sumary: unknown key, did you mean summary?"),
        ("git_oid:", "gitoid:", "line 15, files[0].gitoid: unknown key, did you mean git_oid?"),
        ("family: svd\n", "", "line 1, family: is missing"),
        (
            "family: svd",
            "family: sdv",
            "line 4, family: there is no family 'sdv'; choose one of svd, wan",
        ),
        ("family: svd", "family: [svd]", "line 4, family: must be the name of a family"),
        ("family: svd", "family: ../svd", "line 4, family: there is no family '../svd'"),
        ("bytes: 496", "bytes: many", "line 14, files[0].bytes: input should be a valid integer"),
        (
            "bytes: 496",
            "bytes: -1",
            "line 14, files[0].bytes: input should be greater than or equal to 0, got -1",
        ),
        ("name: anime", "name: An Anime", "line 1, name: string should match pattern"),
        (
            "revision: 9e43909513c6714f1bc78bcb44d96e733cd242aa",
            "revision: main",
            "line 11, source.revision: string should match pattern '^[0-9a-f]{40}$', got 'main'",
        ),
        ("sha256: 9fbc", "sha256: XYZ", "line 18, files[1].sha256: string should match pattern"),
        (
            "path: model_index.json",
            "path: ../model_index.json",
            "line 13, files[0].path: must be a relative path",
        ),
        ("path: model_index.json", "path: /etc/passwd", "line 13, files[0].path: must be a relative path"),
        ("path: model_index.json", 'path: "C:\\\\x"', "line 13, files[0].path: must be a relative path"),
        (
            "path: model_index.json",
            'path: "a\\nb"',
            "line 13, files[0].path: must not contain control characters",
        ),
        ('pipeline: "."', 'pipeline: ".."', "line 20, components.pipeline: must be a relative path"),
        (
            "  revision: 9e43909513c6714f1bc78bcb44d96e733cd242aa\n",
            "",
            "line 9, source: a repo needs a revision",
        ),
        (
            "repo: somebody/svd-anime",
            "repo: somebody/svd-anime\n  url: https://x.org/y",
            "line 9, source: needs exactly one of repo, url and folder, has repo and url",
        ),
        (
            "source:\n  repo: somebody/svd-anime\n  revision: 9e43909513c6714f1bc78bcb44d96e733cd242aa",
            "source: {}",
            "line 9, source: needs exactly one of repo, url and folder, has none",
        ),
        ("repo: somebody/svd-anime", "repo: svd-anime", "line 10, source.repo: string should match pattern"),
        (
            "url: https://example.org/licence",
            "url: http://example.org/licence",
            "line 8, licence.url: must begin with https://",
        ),
        (
            "id: openrail",
            "id: openrail\n  gated: true",
            "line 6, licence.accept_url: is missing: a gated model",
        ),
        (
            "path: unet/diffusion",
            "path: model_index.json #",
            "line 16, files[1].target: model_index.json is listed",
        ),
        ('pipeline: "."', "pipeline: unets", "line 20, components.pipeline: unets is not among the files"),
        ('pipeline: "."', 'unet: "."', "line 19, components: the svd engine needs {pipeline}, got {unet}"),
        ("family: svd", "family: wan", "line 19, components: the wan engine needs {high_noise, low_noise"),
        ("size: 1024x576", "size: 1000x576", "line 22, defaults.size: 1000x576 is not a multiple of 64"),
        ("size: 1024x576", "size: big", "line 22, defaults.size: must be WIDTHxHEIGHT, got big"),
        (
            "num_frames: 25",
            "num_frames: 24",
            "line 23, defaults.num_frames: 24 is not among limits.frames [14, 25]",
        ),
        ("  frames: [14, 25]", "  frame_step: 4", None),
        (
            "num_frames: 25\nlimits:\n  size_multiple: 64\n  frames: [14, 25]",
            "num_frames: 24\nlimits:\n  size_multiple: 64\n  frame_step: 4",
            "line 23, defaults.num_frames: 24 is not 1 + a multiple of 4",
        ),
        (
            "frames: [14, 25]",
            "max_frames: 20",
            "line 23, defaults.num_frames: 25 is above limits.max_frames, 20",
        ),
        (
            "vram_gib: 16",
            "vram_gib: 16, compute_capability: 89",
            "profiles[0].needs.compute_capability: input should",
        ),
        (
            "vram_gib: 16",
            "vram_gib: sixteen",
            "line 30, profiles[0].needs.vram_gib: input should be a valid number",
        ),
        (
            "num_frames: 25",
            "num_frame: 25",
            "line 23, defaults.num_frame: unknown key, did you mean num_frames?",
        ),
        ("num_frames: 25", "shift: 3", "line 23, defaults.shift: unknown key"),
        ("inputs: [image]", "inputs: [picture]", "line 5, inputs[0]: input should be 'text' or 'image'"),
        ("    needs: {vram_gib: 16}\n", "", "line 28, profiles[0].needs: is missing"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, told: str | None) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if told is None:
        reading.parse(text, "anime.yaml")
    else:
        assert any(told in mistake for mistake in mistakes(text)), mistakes(text)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{offload: stream, feed_rows: null}", None),
        ("{offlaod: none}", "offlaod: unknown key, did you mean offload?"),
        ("{offload: disk}", "offload: must be one of none, model, stream, got 'disk'"),
        ("{offload: null}", "offload: must be one of none, model, stream, got None"),
        ("{feed_rows: many}", "feed_rows: must be a whole number of at least 1, or null, got 'many'"),
        ("{feed_rows: 0}", "feed_rows: must be a whole number of at least 1, or null, got 0"),
        ("{feed_rows: true}", "feed_rows: must be a whole number of at least 1, or null, got True"),
        ("{feed_rows: 2.5}", "feed_rows: must be a whole number of at least 1, or null, got 2.5"),
    ],
)
def test_a_setting_that_the_family_does_not_have_is_told_with_its_line(
    settings: str, told: str | None
) -> None:
    text = f"{GOOD}    settings: {settings}\n"
    if told is None:
        reading.parse(text, "anime.yaml")
    else:
        assert mistakes(text) == [f"line 31, profiles[0].settings.{told}"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("matmul: fp8}", "matmul: fp-8}", "settings.matmul: must be one of exact, fp8, got 'fp-8'"),
        ("experts: swap", "expertz: swap", "settings.expertz: unknown key, did you mean experts?"),
        ("vae_tiling: false", "vae_tiling: 0", "settings.vae_tiling: must be true or false, got 0"),
        ("boundary_ratio: 0.875", "boundary_ratio: 1.5", "recipe.boundary_ratio: must be a number of at"),
        ("  text_length: 512", "  sampler: euler", "recipe.sampler: unknown key"),
    ],
)
def test_every_family_is_as_strict(old: str, new: str, told: str) -> None:
    text = (MANIFEST_FOLDER / "wan22.yaml").read_text()
    line = next(n for n, each in enumerate(text.splitlines(), 1) if old in each)
    found = mistakes(text.replace(old, new, 1))
    assert [f"line {line}, " in each and told in each for each in found] == [True], found


def test_mistakes_of_settings_come_with_all_others() -> None:
    text = GOOD.replace("bytes: 496", "bytes: -1") + "    settings: {offlaod: none}\n"
    assert [mistake.partition(",")[0] for mistake in mistakes(text)] == ["line 14", "line 31"]


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ("limits: {size_multiple: 64, frames: [14]}", "25 is not among limits.frames [14]"),
        ("limits: {size_multiple: 64, max_pixels: 262144}", "1024x576 is above limits.max_pixels, 262144"),
        ("limits: {size_multiple: 64, max_pixel_frames: 1000000}", "25 frames of this size are above"),
        ("limits: {size_multiple: 64, frames: [14]}\n    defaults: {num_frames: 14}", None),
        ("defaults: {num_frames: 15}", "15 is not among limits.frames [14, 25]"),
    ],
)
def test_a_request_that_names_nothing_is_legal_under_every_profile(profile: str, told: str | None) -> None:
    text = f"{GOOD}  - name: small\n    title: Less\n    needs: {{vram_gib: 8}}\n    {profile}\n"
    if told is None:
        reading.parse(text, "anime.yaml")
    else:
        assert [told in mistake and "profiles[1]" in mistake for mistake in mistakes(text)] == [True]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "an alias"),
        ("a: &a\n  b: *a\n", "an alias"),
        ("[" * 5000, "not valid YAML"),
        ("1: 2\n3.5: x\nnull: y\n? [a]\n: b\n", "not valid YAML"),
        ("name: anime\n7: x\n", "line 2: a key must be a word"),
        ("name: anime\non: x\n", "line 2: a key must be a word"),
    ],
)
def test_tricks_of_yaml_are_mistakes_and_no_crash(text: str, told: str) -> None:
    assert any(told in mistake for mistake in mistakes(text)), mistakes(text)


LINES = GOOD.splitlines()
VALUES = [
    "",
    " null",
    " []",
    " {}",
    " 7",
    " -1",
    " 1e400",
    " .nan",
    " [1, {a: b}]",
    " '\\u0000'",
    " 2026-02-30",
    " x: y",
]


@settings(max_examples=150, deadline=None)
@given(
    damage=st.lists(
        st.tuples(
            st.integers(0, len(LINES) - 1),
            st.sampled_from(["drop", "twice", "value"]),
            st.sampled_from(VALUES),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_damaged_the_answer_is_a_manifest_or_its_mistakes(
    damage: list[tuple[int, str, str]],
) -> None:
    lines = list(LINES)
    for number, kind, value in damage:
        line = lines[number]
        changed = {"drop": "", "twice": f"{line}\n{line}", "value": f"{line.partition(':')[0]}:{value}"}
        lines[number] = changed[kind]
    try:
        reading.parse("\n".join(lines), "anime.yaml")
    except BadManifest as error:
        assert all(mistake.problem for mistake in error.mistakes)


def test_two_profiles_of_one_name() -> None:
    again = "  - name: full\n    title: Again\n    needs: {vram_gib: 8}\n"
    assert mistakes(GOOD + again) == ["line 31, profiles[1].name: full is listed twice"]


def test_a_lora_without_its_twin() -> None:
    text = (MANIFEST_FOLDER / "wan22.yaml").read_text()
    alone = "".join(line for line in text.splitlines(keepends=True) if "lora_low: split" not in line)
    assert ["lora_high and lora_low belong together" in mistake for mistake in mistakes(alone)] == [True]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_lines() -> None:
    text = GOOD.replace("family: svd", "family: svdd").replace("bytes: 496", "bytes: -1")
    text = text.replace("size: 1024x576", "size: 1000x576").replace("title: Everything", "titel: Everything")
    lines = [mistake.partition(",")[0] for mistake in mistakes(text)]
    assert lines == ["line 4", "line 14", "line 22", "line 28", "line 29"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "the file is empty"), ("# nothing\n", "the file is empty"), ("- a\n", "top level")],
)
def test_what_is_no_manifest_at_all(text: str, told: str) -> None:
    assert told in mistakes(text)[0]


def test_the_error_says_how_many_and_what_to_do() -> None:
    with pytest.raises(BadManifest) as error:
        reading.parse(
            GOOD.replace("family: svd", "family: x").replace("bytes: 496", "bytes: x"), "anime.yaml"
        )
    assert error.value.problem.startswith("anime.yaml has 2 mistakes:\n  line 4")
    assert "kinokit manifest check" in error.value.fix


@pytest.mark.parametrize("name", sorted(reading.shipped()))
def test_shipped_manifests_are_good_and_named_as_their_file(name: str) -> None:
    assert reading.load(name).name == name


def test_the_sizes_of_the_published_models_add_up() -> None:
    totals = {
        name: reading.load(name).download_bytes for name in ("svd-xt", "svd-xt-1-1", "wan22", "wan22-i2v")
    }
    assert totals == {
        "svd-xt": 4_509_188_841,
        "svd-xt-1-1": 4_509_188_809,
        "wan22": 38_031_524_327,
        "wan22-i2v": 38_033_162_727,
    }


def test_only_the_gated_model_has_files_without_a_hash() -> None:
    unknown = {
        name
        for name in reading.shipped()
        for file in reading.load(name).files
        if file.sha256 is None and file.git_oid is None
    }
    assert unknown == {"svd-xt-1-1"}


def test_the_schema_for_editors_is_current() -> None:
    """After a change: kinokit manifest schema > model-manifests/schema.json"""
    assert (MANIFEST_FOLDER / "schema.json").read_text() == schema_text()
    assert json.loads(schema_text())["properties"]["files"]


def test_a_manifest_of_ones_own_is_loaded_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "anime.yaml").write_text(GOOD)
    assert reading.load(str(tmp_path / "anime.yaml")).name == "anime"


def test_a_local_folder_lies_beside_its_manifest(tmp_path: Path) -> None:
    text = GOOD.replace("repo: somebody/svd-anime", "folder: weights")
    text = text.replace("  revision: 9e43909513c6714f1bc78bcb44d96e733cd242aa\n", "")
    (tmp_path / "anime.yaml").write_text(text)
    assert reading.load(str(tmp_path / "anime.yaml")).source.folder == str(tmp_path / "weights")


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(KitError) as error:
        reading.load("wan23")
    assert "wan22" in error.value.fix


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="there is no manifest"):
        reading.load(str(tmp_path / "none.yaml"))


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    with path.open("wb") as file:
        file.truncate(2 * 1024**2)
    with pytest.raises(KitError, match="larger than 1 MiB"):
        reading.load(str(path))


def test_text_in_another_encoding_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "anime.yaml").write_bytes(GOOD.replace("anime", "アニメ").encode("shift_jis"))
    with pytest.raises(KitError, match="not UTF-8"):
        reading.load(str(tmp_path / "anime.yaml"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An https server with a certificate that this process trusts."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Folder(SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "www"), **kwargs)  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    (tmp_path / "www").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Folder)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_manifest_is_loaded_from_an_https_address(site: str, tmp_path: Path) -> None:
    (tmp_path / "www/anime.yaml").write_text(GOOD)
    assert reading.load(f"{site}/anime.yaml").name == "anime"


def test_a_bad_manifest_from_the_net_tells_its_mistakes_too(site: str, tmp_path: Path) -> None:
    (tmp_path / "www/anime.yaml").write_text(GOOD.replace("family: svd", "family: x"))
    with pytest.raises(BadManifest, match="line 4, family"):
        reading.load(f"{site}/anime.yaml")


def test_an_address_without_a_manifest(site: str) -> None:
    with pytest.raises(KitError, match="could not be read"):
        reading.load(f"{site}/none.yaml")


def test_a_manifest_from_the_net_cannot_name_a_local_folder(site: str, tmp_path: Path) -> None:
    text = GOOD.replace("repo: somebody/svd-anime", "folder: /etc")
    text = text.replace("  revision: 9e43909513c6714f1bc78bcb44d96e733cd242aa\n", "")
    (tmp_path / "www/anime.yaml").write_text(text)
    with pytest.raises(KitError, match="names a local folder"):
        reading.load(f"{site}/anime.yaml")


def test_an_unencrypted_address_is_refused() -> None:
    with pytest.raises(KitError, match="https"):
        reading.load("http://example.org/anime.yaml")


def test_behind_a_socks_proxy_a_manifests_address_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(KitError, match="through a SOCKS proxy") as refused:
        reading.load("https://example.org/anime.yaml")
    assert "save the manifest to a file" in refused.value.fix


def test_a_git_blob_id_is_what_git_says() -> None:
    """What File.git_oid promises, so that the fetcher and the manifests mean the same."""
    content = b"hello\n"
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    said = subprocess.run(
        ["git", "hash-object", "--stdin"], input=content, capture_output=True, check=True
    ).stdout
    assert said.decode().strip() == oid
