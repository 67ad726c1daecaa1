"""Mistakes in what is where, found before anything is loaded: they would otherwise show as a bad clip."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bootstrap.errors import KitError

SAMPLES = 64  # pieces compared of two files; experts differ in nearly every byte
SAMPLE_BYTES = 4096
NOISE = re.compile(r"(?<![a-z])(high|low)(?:_|-)?noise|(?<![a-z])(high|low)(?![a-z])")
TASK = re.compile(r"(?<![a-z0-9])(ti2v|t2v|i2v)(?![a-z0-9])")
PAIRS = (("high_noise", "low_noise"), ("lora_high", "lora_low"))
EXPERTS = ("high_noise", "low_noise")
# Folders of diffusers' and of Wan's own repositories, whose files all have the same names.
FOLDER_OF = {
    "high_noise_model": "high",
    "transformer": "high",
    "low_noise_model": "low",
    "transformer_2": "low",
}


def check(
    components: Mapping[str, Path], in_channels: int, latent_channels: int, *, two_experts: bool
) -> None:
    """Hold the roles against the files' names, which are known before the files are there.

    ``two_experts`` is as the model's config has it.

    Raises:
        KitError: an expert is missing, twice there, or the other's; a LoRA is for another expert or task.
    """
    _check_roles(components, two_experts)
    for role in ("text_encoder", "vae"):
        if role not in components:
            raise KitError(
                f"{role} is missing from the model's components", fix="add it to the manifest's components"
            )
    if ("lora_high" in components) != ("lora_low" in components):
        raise KitError(
            "one of the two LoRAs is missing: each expert has its own",
            fix="name lora_high and lora_low in the manifest, or neither",
        )
    for high, low in PAIRS:
        if high in components and low in components:
            _check_noise(high, components[high], "high")
            _check_noise(low, components[low], "low")
            if components[high].resolve() == components[low].resolve():
                raise _twice(high, low, components[high])
    _check_task(components, "i2v" if in_channels > latent_channels else "t2v")


def check_contents(components: Mapping[str, Path]) -> None:
    """Hold those files against each other that are there; KitError when one has two roles."""
    for high, low in PAIRS:
        if high in components and low in components and _same(components[high], components[low]):
            raise _twice(high, low, components[high])


def _check_roles(components: Mapping[str, Path], two_experts: bool) -> None:
    wanted = EXPERTS if two_experts else ("transformer",)
    missing = [role for role in wanted if role not in components]
    if missing:
        needs = "two experts" if two_experts else "one transformer"
        are = "are" if len(missing) > 1 else "is"
        raise KitError(
            f"the model needs {needs}; {' and '.join(missing)} {are} missing from its components",
            fix="add the file to the manifest's components",
        )
    other = [role for role in ("transformer", *EXPERTS) if role in components and role not in wanted]
    if other:
        raise KitError(
            f"the model has {' and '.join(wanted)}, and {' and '.join(other)} was named too",
            fix="take it out of the manifest's components",
        )


def _check_noise(role: str, path: Path, wanted: str) -> None:
    found = {next(filter(None, match.groups())) for match in NOISE.finditer(path.name.lower())}
    folder = FOLDER_OF.get(path.name) or FOLDER_OF.get(path.parent.name)
    if not found and folder:
        found = {folder}
    if found and wanted not in found:
        raise KitError(
            f"{role} is {path.name}, which by its name is for the {found.pop()}-noise expert",
            fix="swap the two files in the manifest's components",
        )


def _check_task(components: Mapping[str, Path], task: str) -> None:
    for role in ("lora_high", "lora_low"):
        path = components.get(role)
        # LightX2V's own repositories say it in the folder's name only.
        told = (path.name, path.parent.name) if path else ()
        found = next(filter(None, (set(TASK.findall(name.lower())) for name in told)), set())
        if path and found and task not in found:
            raise KitError(
                f"{role} is {path.name}, made for {found.pop()}; this model is {task}",
                fix=f"use the {task} LoRA: the other's changes do not fit these weights",
            )


def _twice(one: str, other: str, file: Path) -> KitError:
    return KitError(
        f"{one} and {other} are the same file ({file.name}): each expert has its own",
        fix="name both files in the manifest's components, and fetch again",
    )


def _same(first: Path, second: Path) -> bool:
    """Equal in size and in samples spread over the files; folders: in all of their files."""
    if first.is_dir() and second.is_dir():
        ours, theirs = (sorted(folder.glob("*.safetensors")) for folder in (first, second))
        return bool(ours) and len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if not (first.is_file() and second.is_file()) or first.stat().st_size != second.stat().st_size:
        return False
    step = max(first.stat().st_size // SAMPLES, SAMPLE_BYTES)
    with first.open("rb") as a, second.open("rb") as b:
        for start in range(0, first.stat().st_size, step):
            a.seek(start)
            b.seek(start)
            if a.read(SAMPLE_BYTES) != b.read(SAMPLE_BYTES):
                return False
    return True
