from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.front.settings import Settings
from tests.services.front.running import SVD, WAN, Front, running


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Front]:
    """A front that runs before anything else is there."""
    with running(Settings(tmp_path, max_queued=5)) as found:
        yield found


@pytest.fixture
def svd(bare: Front) -> Front:
    """A front whose model moves photos."""
    bare.plan(SVD)
    return bare


@pytest.fixture
def wan(bare: Front) -> Front:
    """A front whose model reads prompts."""
    bare.plan(WAN)
    return bare


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A photo of 640x360, as JPEG."""
    from PIL import Image

    file = io.BytesIO()
    Image.effect_noise((640, 360), 60).convert("RGB").save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real MP4: 14 frames of 256x128 that grow brighter."""
    import av
    import numpy as np

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=7)
        stream.width, stream.height, stream.pix_fmt = 256, 128, "yuv420p"
        for number in range(14):
            frame = av.VideoFrame.from_ndarray(np.full((128, 256, 3), number * 18, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()
