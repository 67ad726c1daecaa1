"""A photo that is made to keep a decoder busy is refused, and costs nobody else anything."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
import threading
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from PIL import Image

from services.front.creation.photo_checks import PhotoChecks
from services.parameters import RequestError, images
from tests.services.front.front_process import rss_mib, started
from tests.services.front.running import SVD, Front
from tests.support.waiting import wait_for


def decoders(process: psutil.Process) -> list[psutil.Process]:
    return [
        child for child in process.children() if "services.front.creation.photo_process" in child.cmdline()
    ]


def jpeg_bomb(scans: int) -> bytes:
    """49 megapixels in little more than their headers; each scan is another pass over all of them."""
    file = io.BytesIO()
    Image.new("RGB", (7000, 7000)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at : data.rindex(b"\xff\xd9")] * scans + data[at:]


def png_bomb() -> bytes:
    """50 megapixels of 16 bits with alpha, 400 MB behind a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (1 + 7200 * 8)) for _ in range(7200)) + packer.flush()
    header = struct.pack(">IIBBBBB", 7200, 7200, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def animation() -> bytes:
    frames = [Image.new("RGB", (1500, 1500), (number % 256, 0, 0)) for number in range(100)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


def test_an_honest_photo_beside_bombs_is_answered(tmp_path: Path, photo: bytes) -> None:
    """And they are answered too; what they take lies outside of the front."""
    bombs = [jpeg_bomb(300), jpeg_bomb(60), png_bomb(), animation()]
    with started(tmp_path, SVD) as (front, process):
        front.people.post("/v1/videos", files={"input_reference": photo}).raise_for_status()
        before = rss_mib(process)
        seen: list[int] = []

        def send(bomb: bytes) -> None:
            answer = front.people.post("/v1/videos", files={"input_reference": bomb})
            assert answer.status_code == 200 or answer.json()["error"]["code"] == "image_too_large", (
                answer.text
            )
            seen.append(answer.status_code)

        threads = [threading.Thread(target=send, args=(bomb,)) for bomb in bombs]
        for thread in threads:
            thread.start()
        assert front.people.get("/healthz").status_code == 200
        honest = front.people.post("/v1/videos", files={"input_reference": photo})
        assert honest.status_code == 200
        for thread in threads:
            thread.join(120)
        assert len(seen) == len(bombs)
        assert 400 in seen
        assert rss_mib(process) - before < 200
        assert len(decoders(process)) <= 2
        process.terminate()
        process.wait(60)


def test_a_photo_that_takes_too_long_or_too_much_ends_its_process_alone(photo: bytes) -> None:
    async def check() -> None:
        checks = PhotoChecks(1)
        try:
            assert (await checks.check(photo, max_bytes=images.MAX_BYTES)).width == 640
            checking = asyncio.ensure_future(checks.check(jpeg_bomb(90), max_bytes=images.MAX_BYTES))
            killed = await asyncio.to_thread(_kill_a_busy_one)
            with pytest.raises(RequestError) as refused:
                await checking
            assert (killed, refused.value.code) == (True, "image_too_large")
            assert (await checks.check(photo, max_bytes=images.MAX_BYTES)).suffix == ".jpg"
        finally:
            checks.close()

    asyncio.run(check())
    assert decoders(psutil.Process()) == []


def _kill_a_busy_one() -> bool:
    """As the kernel does at the end of its computing time."""
    before = decoders(psutil.Process())[0]
    used = before.cpu_times().user
    wait_for(lambda: before.cpu_times().user > used + 0.2)
    before.kill()
    return True


def test_who_is_cancelled_leaves_the_place_at_once(photo: bytes) -> None:
    async def check() -> None:
        checks = PhotoChecks(1)
        try:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(checks.check(jpeg_bomb(90), max_bytes=images.MAX_BYTES), 0.3)
            assert (await checks.check(photo, max_bytes=images.MAX_BYTES)).width == 640
        finally:
            checks.close()

    asyncio.run(check())
    wait_for(lambda: decoders(psutil.Process()) == [])


def test_who_leaves_frees_the_decoder(tmp_path: Path, photo: bytes) -> None:
    bomb = jpeg_bomb(90)
    with started(tmp_path, SVD) as (front, _):
        for _ in range(4):
            _send_and_leave(front, bomb)
        began = time.monotonic()
        answer = front.people.post("/v1/videos", files={"input_reference": photo})
        assert answer.status_code == 200
        assert time.monotonic() - began < 60
        listed = front.people.get("/v1/videos").json()["data"]
        assert [video["id"] for video in listed] == [answer.json()["id"]]


def _send_and_leave(front: Front, image: bytes) -> None:
    parts = urlsplit(front.url)
    lines = (
        "POST /v1/videos HTTP/1.1",
        f"Host: {parts.netloc}",
        f"Authorization: Bearer {front.token}",
        "Content-Type: multipart/form-data; boundary=b",
    )
    body = b'--b\r\nContent-Disposition: form-data; name="input_reference"; filename="a"\r\n\r\n'
    body += image + b"\r\n--b--\r\n"
    with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as client:
        client.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        time.sleep(0.3)


def test_its_limits_are_those_of_the_kernel(photo: bytes) -> None:
    from services.front.creation import photo_process

    async def check() -> tuple[int, int]:
        checks = PhotoChecks(1)
        try:
            await checks.check(photo, max_bytes=images.MAX_BYTES)
            decoder = decoders(psutil.Process())[0]
            memory, _ = decoder.rlimit(psutil.RLIMIT_AS)
            cpu, _ = decoder.rlimit(psutil.RLIMIT_CPU)
            assert not [name for name in decoder.environ() if "TOKEN" in name]
            return memory, cpu
        finally:
            checks.close()

    memory, cpu = asyncio.run(check())
    assert memory == photo_process.MEMORY_BYTES
    assert 0 < cpu <= photo_process.CPU_SECONDS + 30
