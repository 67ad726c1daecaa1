"""The engine: a prompt, and for some models a photo, becomes frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.engines import photo
from services.engines.base import Cancel, Cancelled, Report
from services.engines.memory import HostCopy, OomAsError
from services.engines.wan import lora, schedule, vae
from services.engines.wan.condition import Channels, Condition, FirstFrame
from services.engines.wan.experts import HIGH, LOW, Experts
from services.engines.wan.lora import Strengths
from services.engines.wan.settings import Recipe, Settings
from services.engines.wan.text import TextEncoder
from services.engines.weights.loader import Loader
from services.parameters.values import Values

SINGLE, TEXT, VAE = "transformer", "text_encoder", "vae"


class WanEngine:
    """One model, one clip at a time, once all of its parts are open and warm."""

    codec: vae.Codec
    text: TextEncoder

    def __init__(
        self, plan: Plan, configs: Mapping[str, Any], vocabulary: Path | None, loader: Loader
    ) -> None:
        """``parts`` says which files each part is made of. ``vocabulary`` may be among the text encoder's."""
        self._recipe = Recipe.of(plan)
        self._device = torch.device(plan.device)
        self._settings = Settings.of(plan)
        self._configs = configs
        self._vocabulary = vocabulary
        self._loader = loader
        files = plan.components
        self._loras = Strengths(plan)
        self._expand = bool(configs["index"].get("expand_timesteps"))
        self._task_image = configs["transformer"]["in_channels"] > configs["vae"]["z_dim"]
        roles = (HIGH, LOW) if HIGH in files else (SINGLE,)
        self.experts = Experts(roles, configs["transformer"], self._settings, self._device, self._loader)
        self.parts: dict[str, list[Path]] = {
            **{
                role: [files[each] for each in (role, lora.ROLES.get(role)) if each in files]
                for role in roles
            },
            TEXT: [files[TEXT], *([vocabulary] if vocabulary else [])],
            VAE: [files[VAE]],
        }
        self._is_text_open = False

    def open(self, names: Iterable[str]) -> None:
        """Hold these parts' files against what they must be; the VAE, which is small, is read at once."""
        for name in names:
            files = self.parts[name]
            if name == VAE:
                self.codec = self._open_codec(files[0])
            elif name == TEXT:
                self.text = self._open_text(files[0])
                self._is_text_open = True
            else:
                self.experts.open(name, files[0], files[1] if len(files) > 1 else None)

    def _open_codec(self, file: Path) -> vae.Codec:
        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        return vae.Codec(
            vae.load(file, self._configs["vae"], self._device, dtype, self._loader),
            tiling=self._settings.vae_tiling,
            frames_at_once=self._settings.vae_frames if self._device.type == "cuda" else 0,
        )

    def _open_text(self, file: Path) -> TextEncoder:
        return TextEncoder(
            file,
            self._vocabulary,
            self._configs["text_encoder"],
            self._device,
            self._settings.text_encoder,
            self._loader,
            self._recipe.text_length,
        )

    def warm(self, report: Report) -> None:
        """Load everything that is open for a request of defaults."""
        with OomAsError(self._device):
            self.experts.prepare(self._loras.of(None), report)
            if self._is_text_open:
                self.text.warm()

    def warm_up_decoding(self, defaults: Mapping[str, Any]) -> None:
        """The decoder's kernels at the default size: the first frame, and two parts of those that follow."""
        if not self.codec.parts_at_once:
            return
        width, height = map(int, defaults["size"].split("x"))
        few = self.codec.time * 2 * self.codec.parts_at_once + 1
        shape = self._latent_shape(width, height, few)
        for _ in self.codec.decode(torch.zeros(shape, device=self._device)):
            """Made to be thrown away."""

    def generate(
        self, values: Values, image: Path | None, report: Report, cancelled: Cancelled
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield RGB frames, uint8 [height, width, 3], in order."""
        with OomAsError(self._device):
            # Not named here: this frame outlives an error, and would keep the latents.
            yield from self._decode(
                self.sample(values, image, report, cancelled), values.num_frames, report, cancelled
            )

    def sample(
        self,
        values: Values,
        image: Path | None,
        report: Report,
        cancelled: Cancelled,
        noise: Tensor | None = None,
    ) -> Tensor:
        """The finished latents, float32 [1, channels, frames, h, w]; ``noise`` replaces the seed's."""
        noise = self.noise(values) if noise is None else noise
        self._check(values, image)
        report("encode", 0, 1)
        texts = self._texts(values)
        self.experts.prepare(self._loras.of(values), report)
        condition = self._condition(image, values)
        report("encode", 1, 1)

        levels = schedule.sigmas(values.num_inference_steps, values.shift)
        roles = self._roles(levels, self._loras.are_used(values))
        latents = noise.to(self._device)
        for step, role in enumerate(roles):
            if cancelled():
                raise Cancel
            # After a clip the next one begins, with the first step's expert.
            following = roles[(step + 1) % len(roles)]
            inputs = condition.inputs(latents, levels[step])
            velocity = self._velocity(role, following, inputs, texts, values.guidance_scale)
            latents = latents + (levels[step + 1] - levels[step]) * velocity
            report("sample", step + 1, len(roles))
        return condition.finished(latents)

    def _texts(self, values: Values) -> list[Tensor]:
        """The prompt's embedding and, where guidance asks for it, the negative prompt's."""
        prompts = [values.prompt, *([values.negative_prompt] if values.guidance_scale > 1 else [])]
        return [self.text.encode(prompt).to(self._device) for prompt in prompts]

    def _velocity(
        self,
        role: str,
        following: str,
        inputs: tuple[Tensor, Tensor],
        texts: list[Tensor],
        guidance: float,
    ) -> Tensor:
        """One forward, or two with guidance; ``following`` is the expert of the next step."""
        if len(texts) == 1:
            return self.experts.forward(role, *inputs, texts[0], next_role=following)
        text, negative = texts
        velocity = self.experts.forward(role, *inputs, text, next_role=role)
        without = self.experts.forward(role, *inputs, negative, next_role=following)
        return without + guidance * (velocity - without)

    def _condition(self, image: Path | None, values: Values) -> Condition:
        kind = FirstFrame if self._expand else Channels
        if image is None:
            return kind(None)
        return kind.of_photo(photo.read(image, width=values.width, height=values.height), self.codec, values)

    def _decode(
        self, latents: Tensor, count: int, report: Report, cancelled: Cancelled
    ) -> Iterator[NDArray[np.uint8]]:
        """Frames are fetched one part late, so that the GPU decodes on while they are encoded."""
        done = 0
        late: HostCopy | None = None
        for part in self.codec.decode(latents):
            if cancelled():
                raise Cancel
            copy = HostCopy(part)
            if late is not None:
                yield from late.wait()
                done += len(late)
                report("decode", done, count)
            late = copy
        if late is not None:
            yield from late.wait()
            report("decode", count, count)

    def _roles(self, levels: list[float], lora: bool) -> list[str]:
        steps = len(levels) - 1
        if SINGLE in self.experts.roles:
            return [SINGLE] * steps
        low = schedule.first_low_step(levels, self._recipe, lora=lora)
        return [HIGH if step < low else LOW for step in range(steps)]

    def noise(self, values: Values) -> Tensor:
        """From the seed alone, drawn on the CPU: the same on every machine."""
        shape = self._latent_shape(values.width, values.height, values.num_frames)
        generator = torch.Generator().manual_seed(values.seed)
        return torch.randn(shape, generator=generator)

    def _latent_shape(self, width: int, height: int, num_frames: int) -> tuple[int, ...]:
        frames = (num_frames - 1) // self.codec.time + 1
        return 1, self.codec.channels, frames, height // self.codec.space, width // self.codec.space

    def _check(self, values: Values, image: Path | None) -> None:
        count, multiple = values.num_frames, self.codec.space * 2
        if (count - 1) % self.codec.time:
            low = (count - 1) // self.codec.time * self.codec.time + 1
            raise KitError(
                f"{count} frames cannot be made: the model makes 4n+1",
                fix=f"ask for {low} or {low + self.codec.time} frames",
            )
        for side, pixels in (("width", values.width), ("height", values.height)):
            if pixels % multiple:
                low = pixels // multiple * multiple
                raise KitError(
                    f"{side} {pixels} is not a multiple of {multiple}",
                    fix=f"ask for {low} or {low + multiple}",
                )
        if self._task_image and image is None:
            raise KitError(
                "this model animates a photo, and none was given", fix="add a photo to the request"
            )
        if image is not None and not (self._task_image or self._expand):
            raise KitError(
                "this model makes clips from prompts alone", fix="leave the photo out, or use wan22-i2v"
            )
