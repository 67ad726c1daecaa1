"""What was decided for this machine and this model: JSON, and the only thing handed to services."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from bootstrap import __version__, files
from bootstrap.choose import family as families
from bootstrap.choose.family import Family
from bootstrap.choose.manifest import Limits, Manifest
from bootstrap.choose.profile import Choice, smaller
from bootstrap.detect.machine import GIB

__all__ = ["Limits", "Plan"]  # with the values that a plan holds


class Plan(BaseModel):
    """Written by bootstrap; read by services; never changed by them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kit_version: str
    model: str
    title: str
    # A name stands for a family that came with the kit.
    family: Annotated[
        Family, BeforeValidator(lambda value: families.load(value) if isinstance(value, str) else value)
    ]
    inputs: tuple[Literal["text", "image"], ...]
    optional_inputs: tuple[Literal["text", "image"], ...] = ()
    device: Literal["cuda", "cpu"]
    gpu_groups: tuple[tuple[str, ...], ...] = ()  # one worker each; UUIDs for CUDA_VISIBLE_DEVICES
    vram_gib: float | None = None  # of a worker's GPUs together, of the smallest group; None without a GPU
    profile: str
    smaller_profile: str | None = None  # of the same model: it needs less memory and runs on the same GPU
    settings: dict[str, Any]
    components: dict[str, Path]  # role -> absolute path of a verified file or folder
    config: str | None
    defaults: dict[str, Any]
    recipe: dict[str, Any]
    limits: Limits
    threads: int  # for OMP, BLAS and tokio, from the cgroup quota and pids.max
    data_dir: Path
    arrivals: Path | None = None  # see bootstrap.launch.arrivals; None: all files are there

    @classmethod
    def build(
        cls,
        manifest: Manifest,
        choice: Choice,
        *,
        files: Path,
        data_dir: Path,
        threads: int,
        arrivals: Path | None = None,
    ) -> Plan:
        """The plan of a choice that fits. ``files`` is the folder that holds all of the manifest's files;
        ``arrivals`` is where the boot tells which of them are there, None when all are.
        """
        profile = choice.profile
        assert profile is not None, "a plan is made only of a choice that fits"
        less = smaller(manifest, profile.name)
        return cls(
            kit_version=__version__,
            model=manifest.name,
            title=manifest.title,
            family=manifest.family,
            inputs=manifest.inputs,
            optional_inputs=manifest.optional_inputs,
            device=profile.needs.device,
            gpu_groups=tuple(tuple(gpu.uuid for gpu in group) for group in choice.gpu_groups),
            vram_gib=_vram_gib(choice),
            profile=profile.name,
            smaller_profile=less.name if less else None,
            settings=profile.settings,
            components={role: _located(manifest, path, files) for role, path in manifest.components.items()},
            config=_config(manifest, files),
            defaults={**manifest.defaults, **profile.defaults},
            recipe=manifest.recipe,
            limits=profile.limits or manifest.limits,
            threads=threads,
            data_dir=data_dir.absolute(),
            arrivals=arrivals,
        )

    def write(self, path: Path) -> None:
        """Write atomically, so that a reader never sees half a plan."""
        files.replace_text(path, self.model_dump_json(indent=2))

    @classmethod
    def read(cls, path: Path) -> Plan:
        return cls.model_validate_json(path.read_text())


def _vram_gib(choice: Choice) -> float | None:
    groups = [sum(gpu.vram_total_bytes for gpu in group) for group in choice.gpu_groups]
    return round(min(groups) / GIB, 2) if groups else None


def _located(manifest: Manifest, path: str, files: Path) -> Path:
    """The absolute path of a component: one of the files, or a folder of them."""
    kept_at = next((file.kept_at for file in manifest.files if file.path == path), path)
    return files.absolute() / kept_at


def _config(manifest: Manifest, files: Path) -> str | None:
    """A folder among the files as an absolute path; else the name of a folder that the engines bring."""
    config = manifest.config
    if config and any(file.kept_at.startswith(f"{config}/") for file in manifest.files):
        return str(files.absolute() / config)
    return config
