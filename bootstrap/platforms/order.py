"""What to paste and what to type into a marketplace's form, so that a rented box becomes a video service.

An ``Order`` says what is wanted; a platform's ``form.py`` turns it into its ``Form``.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bootstrap.choose.manifest import Manifest, Profile
from bootstrap.choose.prices import USABLE_SHARE
from bootstrap.errors import KitError
from bootstrap.platforms import gate, pasted_line
from bootstrap.torch_build import builds

# Small, on most hosts already, and with a Python that suffices; CUDA comes with torch.
IMAGE = "ubuntu:24.04"
LONGEST_VALUE_CHARACTERS = 240  # Clore refuses longer ones with a bare code 1
GB = 10**9
PACKAGES_GB = 12  # torch with its CUDA libraries, unpacked
CLIPS_GB = 10
CUDA = float(
    builds.written(builds.least_cuda(None))
)  # that a host runs at least: the box chooses its torch by it
LABEL_PREFIX = "kinokit-"
# Names the order inside of the box, too: Clore's orders have no name of their own.
LABEL_VARIABLE = "RENTED_AS"


@dataclass(frozen=True)
class Order:
    """What a person wants to run on a rented box."""

    manifest: Manifest
    profile: Profile
    service: str = "ui"
    port: int = 8000
    image: str = IMAGE
    model: str | None = None  # what the box is told; the manifest's name when absent
    script_url: str | None = None  # None: the image starts the kit by itself
    script_sha256: str | None = None  # None: not known
    source: str | None = None  # what the script installs; ``bootstrap.publication`` knows all three
    api_key: str | None = None  # what the service will ask for; made at the first boot when absent
    ssh_key: str | None = None
    hf_token: str | None = None
    extra_env: Mapping[str, str] = field(default_factory=dict)
    # Two orders of one model are told apart by it: an answer that names no rental is common.
    suffix: str = field(default_factory=lambda: secrets.token_hex(3))

    @property
    def disk_gb(self) -> int:
        """Weights, packages and room for clips, rounded up to tens."""
        weights = sum(file.bytes for file in self.manifest.files) / GB
        return int(-(-(weights * 1.05 + PACKAGES_GB + CLIPS_GB) // 10) * 10)

    @property
    def gpu_gb(self) -> int:
        """The least memory that the card must have by its name, so that the profile's part of it is free."""
        return math.ceil(self.profile.needs.vram_gib / USABLE_SHARE)

    @property
    def cuda(self) -> str:
        """The CUDA that the host must run at least: an image brings its torch, the line chooses one."""
        return builds.written(builds.BUILDS[0].needs_cuda) if self.script_url is None else str(CUDA)

    @property
    def label(self) -> str:
        """The rental's own name, by which it is found again when the API's answer does not name it."""
        return f"{LABEL_PREFIX}{self.manifest.name}-{self.suffix}"

    def env(self, platform: str) -> dict[str, str]:
        """The container's variables. KitError for a value that a marketplace would mangle."""
        given = {
            "PLATFORM": platform,
            "KINOKIT_MODEL": self.model or self.manifest.name,
            "KINOKIT_SERVICE": self.service,
            "KINOKIT_PORT": str(self.port),
            "KINOKIT_SOURCE": self.source if self.script_url else None,
            "KINOKIT_TOKEN": self.api_key,
            "PUBLIC_KEY": self.ssh_key,
            "HF_TOKEN": gate.token(self.manifest, self.hf_token, platform),
            **self.extra_env,
        }
        found = {name: value for name, value in given.items() if value}
        for name, value in found.items():
            _check(name, value)
        return found

    def line(self) -> str | None:
        """The line to paste: fetch the start script and run it. None when the image needs none."""
        if self.script_url is None:
            return None
        return pasted_line.write(self.script_url, self.script_sha256, self.port)


def profile_to_rent(manifest: Manifest, name: str | None = None) -> Profile:
    """The profile whose needs set the filters: the named one, else the smallest on a GPU.

    The box itself chooses the best that it can run. KitError for a name that the model does not have.
    """
    named = [each for each in manifest.profiles if name in (None, each.name)]
    if not named:
        known = ", ".join(each.name for each in manifest.profiles)
        raise KitError(f"{manifest.name} has no profile {name!r}", fix=f"use one of {known}")
    on_gpu = [each for each in named if each.needs.device == "cuda"]
    return min(on_gpu or named, key=lambda each: each.needs.vram_gib)


@dataclass(frozen=True)
class Form:
    """What to type where, and the same as a call of the marketplace's API."""

    fields: tuple[tuple[str, str], ...]  # label on the site, what to type
    paste: str | None  # the start command, one line
    method: str
    url: str  # of the API call
    body: Mapping[str, Any]  # JSON
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """For a terminal: labels in one column, the line to paste alone and whole."""
        width = max(len(label) for label, _ in self.fields)
        lines = [f"  {label:<{width}}  {value}" for label, value in self.fields]
        if self.paste:
            lines += ["", "  paste as the start command:", "", self.paste]
        return "\n".join([*lines, *(f"\n  note: {note}" for note in self.notes)])


def _check(name: str, value: str) -> None:
    """Marketplaces answer a wrong value with a bare code; the reason is given here instead."""
    secret = any(word in name for word in ("TOKEN", "SECRET", "KEY_ID", "PASSWORD"))
    shown = "***" if secret else repr(value)
    longest = 4 * LONGEST_VALUE_CHARACTERS if name == "PUBLIC_KEY" else LONGEST_VALUE_CHARACTERS
    if len(value) > longest:
        raise KitError(
            f"{name} has {len(value)} characters; marketplaces take {longest}", fix=f"shorten {name}"
        )
    wrong = sorted(
        {sign for sign in value if not sign.isascii() or not sign.isprintable() or sign in "&'\"`$\\"}
    )
    if wrong:
        raise KitError(
            f"{name} is {shown} and has {' '.join(map(repr, wrong))}, which marketplaces mangle",
            fix=f"give {name} without quotes, ampersand, dollar, backslash and signs outside of ASCII",
        )
