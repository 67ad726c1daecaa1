"""``release.json``: what ``make release`` built, and where it was uploaded to.

One lies in the folder of a release, beside its files; one lies in the wheel, which thus knows its origin.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bootstrap.errors import KitError

FILE_NAME = "release.json"
IN_WHEEL = Path(__file__).with_name(FILE_NAME)
MAX_BYTES = 1024 * 1024


class Part(BaseModel):
    """One file of a release."""

    model_config = ConfigDict(extra="ignore")

    file: str = Field(pattern=r"^[A-Za-z0-9._+-]+$")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")  # a wheel cannot know its own


class Release(BaseModel):
    """``url``: the folder in which the files lie for everybody; None when nobody said."""

    model_config = ConfigDict(extra="ignore")

    version: str
    url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    script: Part
    wheel: Part


def in_wheel(path: Path = IN_WHEEL) -> Release | None:
    """What the release that this code was installed from says; None for any other code, and without a url."""
    if not path.is_file():
        return None
    found = _parsed(path.read_bytes(), str(path))
    return found if found.url else None


def read(place: str) -> Release:
    """The file at a path or an address. Read from the net, its own folder is where the release lies."""
    if "://" not in place:
        return _parsed(_local(Path(place).expanduser()), place)
    found = _parsed(_downloaded(place), place)
    return found.model_copy(update={"url": place.rpartition("/")[0]})


def _parsed(text: bytes, place: str) -> Release:
    try:
        return Release.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise KitError(
            f"{place} is not the {FILE_NAME} of a release",
            fix="give the one that `make release` wrote beside the wheel",
        ) from error


def _local(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise KitError(
            f"{path} cannot be read: {reason}", fix="build it with `make release`, or check the path"
        ) from error


def _downloaded(url: str) -> bytes:
    import httpx  # only a release from the net pays for the import

    try:
        answer = httpx.get(url, timeout=20, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise KitError(f"no release could be read from {url}: {error}", fix="check the address") from error
    if len(answer.content) > MAX_BYTES:
        raise KitError(f"{url} is larger than 1 MiB, so it is no {FILE_NAME}", fix="check the address")
    return answer.content
