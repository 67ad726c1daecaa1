"""Building the plan: what was chosen, where the verified files lie, how many threads there are."""

from __future__ import annotations

from pathlib import Path

from bootstrap import __version__
from bootstrap.choose.manifest import Manifest
from bootstrap.choose.plan import Plan
from bootstrap.choose.profile import Choice


def build(
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
    return Plan(
        kit_version=__version__,
        model=manifest.name,
        title=manifest.title,
        family=manifest.family,
        inputs=manifest.inputs,
        device=profile.needs.device,
        gpu_groups=tuple(tuple(gpu.uuid for gpu in group) for group in choice.gpu_groups),
        profile=profile.name,
        settings=profile.settings,
        components={role: located(manifest, path, files) for role, path in manifest.components.items()},
        config=_config(manifest, files),
        defaults={**manifest.defaults, **profile.defaults},
        recipe=manifest.recipe,
        limits=profile.limits or manifest.limits,
        threads=threads,
        data_dir=data_dir.absolute(),
        arrivals=arrivals,
    )


def located(manifest: Manifest, path: str, files: Path) -> Path:
    """The absolute path of a component: one of the files, or a folder of them."""
    kept_at = next((file.kept_at for file in manifest.files if file.path == path), path)
    return files.absolute() / kept_at


def _config(manifest: Manifest, files: Path) -> str | None:
    """A folder among the files as an absolute path; else the name of a folder that the engines bring."""
    config = manifest.config
    if config and any(file.kept_at.startswith(f"{config}/") for file in manifest.files):
        return str(files.absolute() / config)
    return config
