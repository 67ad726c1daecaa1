"""Requests as every client sends them: what means one thing is taken, what does not is refused."""

from __future__ import annotations

import base64
import json
import random
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.front.settings import Settings
from tests.services.front.running import SVD, WAN, Front, running

MULTIPART = {"content-type": "multipart/form-data; boundary=b0"}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def moves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A front whose model moves photos."""
    with running(Settings(tmp_path_factory.mktemp("moves"), max_queued=1000)) as found:
        found.plan(SVD)
        yield found


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A front whose model reads prompts."""
    with running(Settings(tmp_path_factory.mktemp("reads"), max_queued=1000)) as found:
        found.plan(WAN)
        yield found


@pytest.fixture(scope="module")
def png() -> bytes:
    """Noise, so that its base64 holds all characters; a length that needs padding."""
    import io

    from PIL import Image

    file = io.BytesIO()
    pixels = random.Random(7).randbytes(64 * 64 * 3)
    Image.frombytes("RGB", (64, 64), pixels).save(file, "PNG")
    data = file.getvalue()
    return data if len(data) % 3 else data + b"\0"


def part(head: str, data: bytes, kind: str = "") -> bytes:
    lines = f"--b0\r\nContent-Disposition: form-data; {head}\r\n" + (
        f"Content-Type: {kind}\r\n" if kind else ""
    )
    return lines.encode() + b"\r\n" + data + b"\r\n"


def form(*parts: bytes) -> dict[str, Any]:
    return {"content": b"".join(parts) + b"--b0--\r\n", "headers": MULTIPART}


def forms(photo: bytes) -> dict[str, dict[str, Any]]:
    """The same photo as clients of many kinds send it."""
    text = base64.b64encode(photo).decode()
    safe, address = base64.urlsafe_b64encode(photo).decode(), f"data:image/png;base64,{text}"
    quoted = urllib.parse.quote(text, safe="")
    lines = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))

    def as_json(value: Any, name: str = "input_reference") -> dict[str, Any]:
        return {"json": {name: value}}

    return {
        "url-safe": as_json(f"data:image/png;base64,{safe}"),
        "url-safe without padding": as_json(safe.rstrip("=")),
        "percent-encoded": as_json(f"data:image/png;base64,{quoted}"),
        "percent-encoded, small letters": as_json("data:image/png;base64," + quoted.replace("%2B", "%2b")),
        "all of it percent-encoded": as_json(urllib.parse.quote(address, safe="")),
        "no padding": as_json(address.rstrip("=")),
        "lines of mail": as_json(lines),
        "spaces around": as_json(f"  {address}\n"),
        "parameters": as_json(f"data:image/png;charset=utf-8;name=a.png;base64,{text}"),
        "capitals": as_json(f"DATA:image/png;BASE64,{text}"),
        "no data:": as_json(f"image/png;base64,{text}"),
        "url": as_json({"url": address}),
        "chat": as_json({"type": "image_url", "image_url": {"url": address, "detail": "high"}}),
        "b64_json": as_json({"b64_json": text}),
        "source": as_json({"type": "image", "source": {"type": "base64", "data": text}}),
        "inline_data": as_json({"inline_data": {"mime_type": "image/png", "data": text}}),
        "other keys null": as_json({"image_url": address, "file_id": None, "url": None}),
        "a list": as_json([{"image_url": address}]),
        "image": as_json(address, "image"),
        "image_url": as_json({"url": address}, "image_url"),
        "images": as_json([text], "images"),
        "charset": {
            "content": json.dumps({"input_reference": address}),
            "headers": {"content-type": "Application/JSON; charset=UTF-8"},
        },
        "byte order mark": {
            "content": b"\xef\xbb\xbf" + json.dumps({"input_reference": address}).encode(),
            "headers": JSON,
        },
        "UTF-16": {"content": json.dumps({"input_reference": address}).encode("utf-16"), "headers": JSON},
        "escaped slashes": {
            "content": json.dumps({"input_reference": address}).replace("/", "\\/"),
            "headers": JSON,
        },
        "escaped plus": {
            "content": json.dumps({"input_reference": address}).replace("+", "\\u002B"),
            "headers": JSON,
        },
        "no type": {"content": json.dumps({"input_reference": address})},
        "curl -d": {
            "content": json.dumps({"input_reference": address}),
            "headers": {"content-type": "application/x-www-form-urlencoded"},
        },
        "no filename": form(part('name="input_reference"', photo, "image/png")),
        "no filename, no type": form(part('name="input_reference"', photo)),
        "another name": form(part('name="image"; filename="a.png"', photo)),
        "image[]": form(part('name="image[]"; filename="a.png"', photo, "image/png")),
        "base64 in a form": form(part('name="input_reference"', text.encode())),
        "a form within JSON": form(
            part('name="image_reference"', json.dumps({"image_url": address}).encode())
        ),
        "an empty file beside it": form(
            part('name="input_reference"; filename="a.png"', photo),
            part('name="image"; filename=""', b"", "application/octet-stream"),
        ),
        "urlencoded": {"data": {"input_reference": address}},
        "urlencoded, plus signs as they are": {
            "content": "input_reference=" + address,
            "headers": {"content-type": "application/x-www-form-urlencoded"},
        },
        "urlencoded object": {"data": {"input_reference": json.dumps({"image_url": address})}},
    }


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("kind", list(forms(b"")))
def test_a_photo_is_the_same_however_it_is_sent(moves: Front, png: bytes, kind: str, size: str) -> None:
    """A large one is cut out of its JSON before the rest is parsed."""
    photo = png if size == "small" else png + random.Random(1).randbytes(100_000)  # behind the image's end
    answer = moves.people.post("/v1/videos", **forms(photo)[kind])
    assert answer.status_code == 200, answer.text
    name = answer.json()["id"]
    kept = moves.people.get(f"/v1/videos/{name}/content", params={"variant": "input"})
    assert kept.content == photo


def refused(answer: httpx.Response, status: int = 400) -> tuple[str | None, str]:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["param"], answer.json()["error"]["code"]


def test_two_photos_are_not_guessed_from(moves: Front, png: bytes) -> None:
    text = base64.b64encode(png).decode()
    both = {"input_reference": text, "image": text}
    assert refused(moves.people.post("/v1/videos", json=both)) == ("image", "invalid_value")
    for value in ([text, text], {"url": text, "b64_json": text}):
        answer = moves.people.post("/v1/videos", json={"input_reference": value})
        assert refused(answer) == ("input_reference", "image_unreadable")


@pytest.mark.parametrize("text", ["A" * 5, "%zz%", "data:image/png;base64,*", "bild.png", "ä" * 8])
def test_what_is_no_base64_is_refused(moves: Front, text: str) -> None:
    answer = moves.people.post("/v1/videos", json={"input_reference": text})
    assert refused(answer) == ("input_reference", "image_unreadable")


def test_null_is_absent_under_any_name(reads: Front) -> None:
    nothing = dict.fromkeys(("quality", "input_reference", "image", "seed", "model", "user", "priority"))
    answer = reads.people.post("/v1/videos", json={"prompt": "a cat", **nothing})
    assert answer.status_code == 200, answer.text
    answer = reads.people.post("/v1/videos", json={"prompt": "a cat", "input_reference": {"image_url": None}})
    assert answer.status_code == 200, answer.text
    assert refused(reads.people.post("/v1/videos", json={"prompt": "a cat", "quality": "hd"}))[0] == "quality"


@pytest.mark.parametrize(
    "size", ["832*480", "832×480", "832 x 480", "832X480", " 832x480 ", "８３２ｘ４８０"]
)
def test_a_size_is_read_as_people_write_it(reads: Front, size: str) -> None:
    answer = reads.people.post("/v1/videos", json={"prompt": "a cat", "size": size})
    assert answer.json().get("size") == "832x480", answer.text


@pytest.mark.parametrize("size", ["00x00", "832x", "16:9", "832x480x3", "-832x480", "0832x480"])
def test_what_is_no_size_is_refused(reads: Front, size: str) -> None:
    answer = reads.people.post("/v1/videos", json={"prompt": "a cat", "size": size})
    assert refused(answer) == ("size", "invalid_value")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("priority", value) for value in ("1.7", "true", "false", "[]", "{}", "1e400", '"1_0"', "NaN")),
        *(("seed", value) for value in ("true", '"1_000"', "1.5", '"\\u0661"', "[]", '"0x10"')),
        *(("guidance_scale", value) for value in ("true", '"nan"', '"inf"', '"1_0"', "1e400")),
    ],
)
def test_what_only_looks_like_a_number_is_refused(reads: Front, name: str, value: str) -> None:
    body = f'{{"prompt": "a cat", "{name}": {value}}}'
    answer = reads.people.post("/v1/videos", content=body, headers=JSON)
    assert refused(answer)[0] == (None if value == "NaN" else name)


def test_numbers_in_forms_are_text_and_are_read(reads: Front) -> None:
    asked = {"prompt": "a cat", "seed": "7", "priority": "-3", "guidance_scale": " 4.5 ", "num_frames": "17"}
    for answer in (reads.people.post("/v1/videos", data=asked), reads.people.post("/v1/videos", json=asked)):
        values = answer.json()["parameters"]
        assert (values["seed"], values["guidance_scale"], values["num_frames"]) == (7, 4.5, 17)


@pytest.mark.parametrize(
    "body", ['{"prompt": "a", "prompt": "b"}', '{"prompt": "a", "image": {"url": "a", "url": "b"}}']
)
def test_a_key_given_twice_is_refused(reads: Front, body: str) -> None:
    answer = reads.people.post("/v1/videos", content=body, headers=JSON)
    assert refused(answer)[1] == "duplicate_field"


@pytest.mark.parametrize("character", ["\x07", "\x1b[2J", "\x7f", "\x9b", "\u202e", "\u202d", "\u2066", "\0"])
def test_what_terminals_obey_is_refused_in_texts(reads: Front, character: str) -> None:
    for name in ("prompt", "negative_prompt", "user"):
        body = {"prompt": "a cat", name: f"a {character} cat"}
        assert refused(reads.people.post("/v1/videos", json=body))[0] == name


def test_lines_tabs_and_every_script_stay(reads: Front) -> None:
    prompt = "a cat\r\n\tand a dog, 猫と犬, חתול, \u200fقطة\u200e, 👩\u200d🚀"
    for sent in ({"json": {"prompt": prompt}}, {"files": {"prompt": (None, prompt)}}):
        answer = reads.people.post("/v1/videos", **sent)
        assert answer.json().get("prompt") == prompt, answer.text


def test_a_form_in_another_encoding_says_which_or_is_refused(reads: Front) -> None:
    latin = "a café".encode("latin-1")
    told = reads.people.post(
        "/v1/videos", **form(part('name="prompt"', latin, "text/plain; charset=iso-8859-1"))
    )
    assert told.json()["prompt"] == "a café"
    assert refused(reads.people.post("/v1/videos", **form(part('name="prompt"', latin)))) == (
        "prompt",
        "invalid_form",
    )
