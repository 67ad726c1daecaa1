"""What was decided for this machine and this model: JSON, and the only thing handed to services."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bootstrap.choose.manifest import Limits


class Plan(BaseModel):
    """Written by bootstrap; read by services; never changed by them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kit_version: str
    model: str
    title: str
    family: Literal["svd", "wan"]
    inputs: tuple[Literal["text", "image"], ...]
    device: Literal["cuda", "cpu"]
    gpu_groups: tuple[tuple[str, ...], ...] = ()  # one worker each; UUIDs for CUDA_VISIBLE_DEVICES
    profile: str
    settings: dict[str, Any]
    components: dict[str, Path]  # role -> absolute path of a verified file or folder
    config: str | None
    defaults: dict[str, Any]
    recipe: dict[str, Any]
    limits: Limits
    threads: int  # for OMP, BLAS and tokio, from the cgroup quota and pids.max
    data_dir: Path
    arrivals: Path | None = None  # see bootstrap.launch.arrivals; None: all files are there

    def write(self, path: Path) -> None:
        """Write atomically, so that a reader never sees half a plan."""
        part = path.with_suffix(".tmp")
        part.write_text(self.model_dump_json(indent=2))
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Plan:
        return cls.model_validate_json(path.read_text())
