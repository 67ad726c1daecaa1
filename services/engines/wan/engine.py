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
from services.engines.base import Cancel, Cancelled, Report, Start
from services.engines.memory import HostCopy, OomAsError
from services.engines.start.files import Arriving
from services.engines.wan import checks, component_configs, schedule, vae
from services.engines.wan.experts import HIGH, LOW, Experts
from services.engines.wan.settings import Recipe, Settings
from services.engines.wan.text import TextEncoder
from services.engines.weights.loader import Loader
from services.parameters.values import Values

SINGLE, TEXT, VAE = "transformer", "text_encoder", "vae"
LORAS = {HIGH: "lora_high", LOW: "lora_low"}


def load(plan: Plan, start: Start) -> WanEngine:
    """Each part as soon as its files are there; what is there is checked before anything big is read."""
    arriving = Arriving(plan.arrivals, start)
    if plan.config is not None:
        arriving.wait(Path(plan.config))
    configs = component_configs.configs(plan.config)
    shape, codec = configs["transformer"], configs["vae"]
    two_experts = configs["index"].get("boundary_ratio") is not None
    checks.check(plan.components, shape["in_channels"], codec["z_dim"], two_experts=two_experts)
    loader = Loader(torch.device(plan.device), spans=start.spans)
    engine = WanEngine(plan, configs, component_configs.vocabulary(plan.components, arriving), loader)
    sizes = {part: sum(map(arriving.nbytes, files)) for part, files in engine.parts.items()}
    arrived: list[str] = []
    for batch in arriving.batches(engine.parts):
        done, share = (sum(sizes[part] for part in group) for group in (arrived, batch))
        arrived += batch
        there = {file for part in arrived for file in engine.parts[part]}
        checks.check_contents({role: file for role, file in plan.components.items() if file in there})
        engine.open(batch)
        if plan.device == "cuda" and VAE in batch:
            start.background.do("prepare the decoder", lambda: engine.rehearse_decoding(plan.defaults))
        engine.warm(_within(start.report, done, share, sum(sizes.values())))
        if plan.device == "cuda" and TEXT in batch:
            start.background.do("prepare the text encoder", engine.text.rehearse)
        start.report("load", done + share, sum(sizes.values()))
    return engine


def _within(report: Report, before: int, share: int, total: int) -> Report:
    """The progress of some parts as that of all; the counts are bytes of files."""

    def scaled(stage: str, done: int, of: int) -> None:
        report(stage, before + (share * done // of if of else 0), total)

    return scaled


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
        self._has_lora = "lora_high" in files
        self._default_lora = bool(plan.defaults.get("lora", self._has_lora))
        self._default_strengths = {
            role: float(plan.defaults.get(f"{name}_strength", 1.0)) for role, name in LORAS.items()
        }
        self._expand = bool(configs["index"].get("expand_timesteps"))
        self._task_image = configs["transformer"]["in_channels"] > configs["vae"]["z_dim"]
        roles = (HIGH, LOW) if HIGH in files else (SINGLE,)
        self.experts = Experts(roles, configs["transformer"], self._settings, self._device, self._loader)
        self.parts: dict[str, list[Path]] = {
            **{role: [files[each] for each in (role, LORAS.get(role)) if each in files] for role in roles},
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
            self.experts.prepare(self._strengths(None), report)
            if self._is_text_open:
                self.text.warm()

    def rehearse_decoding(self, defaults: Mapping[str, Any]) -> None:
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
        noise = self._noise(values) if noise is None else noise
        self._check(values, image)
        report("encode", 0, 1)
        guidance = values.guidance_scale
        text = self.text.encode(values.prompt).to(self._device)
        other = self.text.encode(values.negative_prompt).to(self._device) if guidance > 1 else None
        self.experts.prepare(self._strengths(values), report)
        condition = self._condition(image, values) if image is not None else None
        report("encode", 1, 1)

        steps = values.num_inference_steps
        levels = schedule.sigmas(steps, values.shift)
        roles = self._roles(levels, self._uses_lora(values))
        latents = noise.to(self._device)
        passes = 1 if other is None else 2
        for step, role in enumerate(roles):
            if cancelled():
                raise Cancel
            # After a clip the next one begins, with the first step's expert.
            following = roles[step + 1] if step + 1 < steps else roles[0]
            inputs, timestep = self._inputs(latents, condition, levels[step])
            velocity = self.experts.forward(
                role, inputs, timestep, text, next_role=following if passes == 1 else role
            )
            if other is not None:
                without = self.experts.forward(role, inputs, timestep, other, next_role=following)
                velocity = without + guidance * (velocity - without)
            latents = latents + (levels[step + 1] - levels[step]) * velocity
            report("sample", step + 1, steps)
        if condition is not None and self._expand:
            latents = torch.cat([condition, latents[:, :, 1:]], dim=2)
        return latents

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

    def _uses_lora(self, values: Values | None) -> bool:
        wanted = None if values is None else values.lora
        return self._has_lora and (self._default_lora if wanted is None else bool(wanted))

    def _strengths(self, values: Values | None) -> dict[str, float]:
        """Of each expert's LoRA; None asks for a request of defaults."""
        if not self._uses_lora(values):
            return dict.fromkeys(LORAS, 0.0)
        if values is None:
            return self._default_strengths
        given = {HIGH: values.lora_high_strength, LOW: values.lora_low_strength}
        return {
            role: self._default_strengths[role] if strength is None else float(strength)
            for role, strength in given.items()
        }

    def _noise(self, values: Values) -> Tensor:
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

    def _condition(self, image: Path, values: Values) -> Tensor:
        """The photo as 4 channels of mask and the latent of a clip that starts with it; 5B: as its latent."""
        still = photo.read(image, width=values.width, height=values.height)[:, :, None]
        if self._expand:
            return self.codec.encode(still)
        grey = still.new_zeros(1, 3, values.num_frames - 1, *still.shape[-2:])
        latent = self.codec.encode(torch.cat([still, grey], dim=2))
        mask = latent.new_zeros(1, self.codec.time, *latent.shape[2:])
        mask[:, :, 0] = 1
        return torch.cat([mask, latent], dim=1)

    def _inputs(self, latents: Tensor, condition: Tensor | None, level: float) -> tuple[Tensor, Tensor]:
        timestep = torch.tensor([schedule.TIMESTEPS * level], device=self._device)
        if not self._expand:
            return latents if condition is None else torch.cat([latents, condition], dim=1), timestep
        # The 5B model is told the noise of each token; a given first frame has none.
        if condition is not None:
            latents = torch.cat([condition, latents[:, :, 1:]], dim=2)
        frames, tokens = latents.shape[2], latents.shape[3] // 2 * (latents.shape[4] // 2)
        each = timestep.expand(frames).clone()
        if condition is not None:
            each[0] = 0
        return latents, each.repeat_interleave(tokens)[None]
