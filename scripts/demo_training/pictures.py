"""What the demo models are trained on: photos inside scikit-image and scikit-learn, and painted scenes.

Five photos are held out and never trained on; tests/services/engines/test_demo.py measures on them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

HELD_OUT = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "camera.png")
SKIMAGE = (
    "motorcycle_left.png", "motorcycle_right.png", "hubble_deep_field.jpg", "retina.jpg", "ihc.png",
    "grass.png", "gravel.png", "brick.png", "coins.png", "moon.png", "page.png", "cell.png",
    "clock_motion.png", "text.png",
)  # fmt: skip
SKLEARN = ("china.jpg", "flower.jpg")
FAVOURITES = {"china.jpg": 6, "flower.jpg": 6, "motorcycle_left.png": 3, "motorcycle_right.png": 3}


class Album:
    """A source of pictures on a device, all randomness from one generator."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device = device
        self.generator = torch.Generator(device).manual_seed(seed)
        self.photos = [_load(path).to(device) for path in _paths()]
        weights = [float(FAVOURITES.get(path.name, 1)) for path in _paths()]
        self.weights = torch.tensor(weights)
        self.choice = torch.Generator().manual_seed(seed)

    def pictures(self, count: int, height: int, width: int, painted: float = 0.5) -> Tensor:
        """[count, 3, height, width] in -1 to 1; the share ``painted`` of them is made by ``paint``."""
        drawn = int(count * painted)
        crops = [self._crop(height, width) for _ in range(count - drawn)]
        parts = [torch.stack(crops)] if crops else []
        if drawn:
            parts.append(self.paint(drawn, height, width))
        return self._colour(torch.cat(parts)) * 2 - 1

    def _crop(self, height: int, width: int) -> Tensor:
        photo = self.photos[int(torch.multinomial(self.weights, 1, generator=self.choice))]
        _, high, wide = photo.shape
        draw = torch.rand(5, generator=self.choice).tolist()
        largest = min(high / height, wide / width)
        scale = max(0.7, largest * (0.3 + 0.7 * draw[0]))  # source pixels per pixel
        tall, broad = min(high, int(height * scale)), min(wide, int(width * scale))
        top, left = int(draw[1] * (high - tall)), int(draw[2] * (wide - broad))
        piece = photo[None, :, top : top + tall, left : left + broad]
        piece = functional.interpolate(piece, (height, width), mode="bilinear", antialias=True)[0]
        return piece.flip(-1) if draw[3] < 0.5 else piece

    def _colour(self, pictures: Tensor) -> Tensor:
        """Other brightness, contrast and hue, so that few photos stand for many."""
        count = len(pictures)
        gain = 1 + 0.35 * (self._rand(count, 3, 1, 1) - 0.5) + 0.5 * (self._rand(count, 1, 1, 1) - 0.5)
        lift = 0.25 * (self._rand(count, 1, 1, 1) - 0.5)
        grey = pictures.mean(1, keepdim=True)
        vivid = 0.3 + 1.2 * self._rand(count, 1, 1, 1)
        turned = torch.where(self._rand(count, 1, 1, 1) < 0.3, pictures.roll(1, 1), pictures)
        return ((grey + (turned - grey) * vivid) * gain + lift).clamp(0, 1)

    def paint(self, count: int, height: int, width: int) -> Tensor:
        """Scenes of overlapping things with textures, over clouds and a horizon; 0 to 1."""
        y = torch.linspace(0, 1, height, device=self.device)[:, None]
        x = torch.linspace(0, width / height, width, device=self.device)[None]
        scene = self._clouds(count, height, width) * 0.5 + self._rand(count, 3, 1, 1) * 0.6
        low = self._rand(count, 3, 1, 1) * 0.8 + self._clouds(count, height, width) * 0.3
        horizon = 0.3 + 0.5 * self._rand(count, 1, 1, 1)
        soft = 0.005 + 0.1 * self._rand(count, 1, 1, 1) ** 2
        scene = torch.lerp(scene, low, torch.sigmoid((y - horizon) / soft))
        for number in range(int(torch.randint(4, 26, (1,), generator=self.choice))):
            scene = self._thing(scene, x, y, 0.5 * 0.9**number)
        return scene.clamp(0, 1)

    def _thing(self, scene: Tensor, x: Tensor, y: Tensor, size: float) -> Tensor:
        count = len(scene)
        rand = self._rand
        at_x, at_y = rand(count, 1, 1, 1) * float(x.max()), rand(count, 1, 1, 1)
        turn = rand(count, 1, 1, 1) * 6.283
        across = (x - at_x) * torch.cos(turn) + (y - at_y) * torch.sin(turn)
        along = (y - at_y) * torch.cos(turn) - (x - at_x) * torch.sin(turn)
        wide = size * (0.1 + 0.9 * rand(count, 1, 1, 1))
        long = size * (0.1 + 0.9 * rand(count, 1, 1, 1))
        power = 1 + 7 * rand(count, 1, 1, 1) ** 2  # from diamonds over ellipses to boxes
        inside = 1 - ((across.abs() / wide) ** power + (along.abs() / long) ** power)
        sharp = 0.02 + 0.3 * rand(count, 1, 1, 1) ** 3
        mask = torch.sigmoid(inside / sharp)
        stripes = (
            torch.sin(across * (10 + 250 * rand(count, 1, 1, 1) ** 2) + turn) * rand(count, 1, 1, 1) ** 2
        )
        shade = 1 + 0.5 * (along / long).clamp(-1, 1) * (rand(count, 1, 1, 1) - 0.5)
        grain = self._clouds(count, *scene.shape[2:]) * rand(count, 1, 1, 1) * 0.5
        colour = (rand(count, 3, 1, 1) + 0.25 * stripes + grain - 0.2) * shade
        return torch.lerp(scene, colour, mask)

    def _clouds(self, count: int, height: int, width: int) -> Tensor:
        """Noise of all scales, the coarse ones strongest; about 0 to 1."""
        total = torch.zeros(count, 3, height, width, device=self.device)
        for octave in range(6):
            cells = 2 ** (octave + 1)
            grid = self._rand(count, 3, cells + 1, cells + 1)
            grid = torch.lerp(grid.mean(1, keepdim=True).expand_as(grid), grid, 0.4)
            fine = functional.interpolate(grid, (height, width), mode="bicubic", align_corners=True)
            total += fine * 0.55 ** (octave + 1)
        return total

    def _rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, device=self.device, generator=self.generator)


def held_out(height: int, width: int) -> dict[str, Tensor]:
    """The five photos that were never trained on: [3, height, width] in -1 to 1, the middle of each."""
    folder = _skimage_folder()
    found = {}
    for name in HELD_OUT:
        if not (folder / name).is_file():
            continue
        photo = _load(folder / name)
        _, high, wide = photo.shape
        scale = min(high / height, wide / width)
        tall, broad = int(height * scale), int(width * scale)
        top, left = (high - tall) // 2, (wide - broad) // 2
        piece = photo[None, :, top : top + tall, left : left + broad]
        piece = functional.interpolate(piece, (height, width), mode="bicubic", antialias=True)[0]
        found[name] = piece.clamp(0, 1) * 2 - 1
    return found


def _paths() -> list[Path]:
    import sklearn.datasets

    photos = Path(sklearn.datasets.__file__).parent / "images"
    paths = [_skimage_folder() / name for name in SKIMAGE] + [photos / name for name in SKLEARN]
    return [path for path in paths if path.is_file()]


def _skimage_folder() -> Path:
    import skimage

    return Path(skimage.__file__).parent / "data"


def _load(path: Path) -> Tensor:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)
