"""The service from a Python program: ``Kinokit``, and ``AsyncKinokit`` for asyncio. Needs httpx alone.

with Kinokit("http://HOST:PORT", token="…") as kit:
    video = kit.create(prompt="a paper boat on a pond")
    kit.download(kit.wait(video.id).id, Path("clip.mp4"))
"""

from services.client.asynchronous import AsyncKinokit
from services.client.errors import (
    Conflict,
    KinokitError,
    NotFound,
    NotReady,
    QueueFull,
    Refused,
    Unreachable,
    VideoFailed,
    WrongToken,
)
from services.client.objects import Batch, Model, Video
from services.client.synchronous import Kinokit

__all__ = [
    "AsyncKinokit",
    "Batch",
    "Conflict",
    "Kinokit",
    "KinokitError",
    "Model",
    "NotFound",
    "NotReady",
    "QueueFull",
    "Refused",
    "Unreachable",
    "Video",
    "VideoFailed",
    "WrongToken",
]
