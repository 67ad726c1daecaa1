"""A picture to make clips of."""

from __future__ import annotations

import io
import random

from PIL import Image, ImageDraw


def landscape(seed: int = 1) -> bytes:
    """PNG, 640x360."""
    draws = random.Random(seed)
    picture = Image.linear_gradient("L").resize((640, 360)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, size = draws.randrange(640), draws.randrange(180, 360), draws.randrange(20, 90)
        pen.ellipse((x, y, x + size, y + size), fill=(draws.randrange(256), draws.randrange(256), 90))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()
