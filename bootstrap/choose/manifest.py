"""A model, as one YAML file describes it: what to fetch, what it needs, what it may be asked for.

The schema is here; ``bootstrap.choose.reading`` reads the files and words their mistakes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

from bootstrap.choose import family as families
from bootstrap.choose.family import Family, Name, Strict
from bootstrap.errors import KitError

MANIFEST_FOLDER = Path(__file__).parents[2] / "model-manifests"


def _inside(path: str) -> str:
    """A path that stays below its folder on every system."""
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or ".." in parts or ":" in parts[0]:
        raise ValueError("must be a relative path with / that stays inside its folder")
    if any(ord(character) < 32 for character in path):
        raise ValueError("must not contain control characters")
    return path


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError("must begin with https://")
    return url


def _https_folder(url: str) -> str:
    try:
        parts = urlsplit(_https(url))
        is_good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise ValueError(str(error) if "https" in str(error) else "is no address of a host") from error
    if not is_good or any(character.isspace() for character in url):
        raise ValueError("is no address of a host")
    if parts.fragment:
        raise ValueError("must not have a #fragment: servers never see it")
    return url


Inside = Annotated[str, AfterValidator(_inside)]
Https = Annotated[str, AfterValidator(_https)]
HttpsFolder = Annotated[str, AfterValidator(_https_folder)]
GitOid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Repo = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]
Size = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{1,4}x[1-9][0-9]{1,4}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _family(value: Any, info: ValidationInfo) -> Family:
    """By its name; the validation's context may hold the folder of families beside the manifest."""
    if isinstance(value, Family):
        return value
    if not isinstance(value, str):
        raise ValueError("must be the name of a family")
    try:
        return families.load(value, (info.context or {}).get("families"))
    except KitError as error:
        raise ValueError(f"{error.problem}; {error.fix}") from error


# Written as its name, read as the whole family.
FamilyByName = Annotated[
    Family,
    BeforeValidator(_family),
    PlainSerializer(lambda family: family.name, return_type=str),
    WithJsonSchema(
        {"type": "string", "title": "Family", "description": "A file of model-manifests/families"}
    ),
]


class Source(Strict):
    """Where files come from: a hub repository at a pinned revision, an https folder, or a local folder."""

    repo: Repo | None = None  # "owner/name" on the hub
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = None
    url: HttpsFolder | None = None  # https://host/folder, the file's path is appended, a query goes behind it
    folder: str | None = None  # a local folder, relative to the manifest; absolute once it is loaded


class File(Strict):
    """One file. ``sha256: null`` means that no published hash is known: the hub's own is locked instead.

    All files of a manifest are kept together, in the folder of the manifest's own source, also those
    that come from elsewhere: a component that is a folder must be whole.
    """

    path: Inside
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256 | None = None
    git_oid: GitOid | None = None  # sha1 of "blob <bytes>\0" and the content, for files outside of LFS
    target: Inside | None = None  # where it is kept below the source's folder; the path itself when absent
    source: Source | None = None  # where it comes from, instead of the manifest's source
    # Where it is, when that holds more than source and path show: a query, a user. Made by loading.
    _address: SecretStr | None = PrivateAttr(default=None)

    @property
    def kept_at(self) -> str:
        """Where it lies below the folder of the manifest's files."""
        return self.target or self.path

    @property
    def address(self) -> str | None:
        """Its whole address, secrets in clear, for a request alone; None when source and path tell it."""
        return self._address.get_secret_value() if self._address else None

    def at(self, address: str, **changes: Any) -> File:
        """The same file at an address that is shown nowhere."""
        moved = self.model_copy(update=changes)
        moved._address = SecretStr(address)
        return moved


class Licence(Strict):
    """What a user agrees to; shown before anything is downloaded."""

    id: str
    url: Https
    gated: bool = False
    accept_url: Https | None = None  # the page where a gated licence is accepted
    note: str | None = None


class Needs(Strict):
    """What a machine must have free: a measured peak where the profile has ``measured``, else derived."""

    device: Literal["cuda", "cpu"] = "cuda"
    gpus: Annotated[int, Field(ge=1)] = 1
    vram_gib: Annotated[float, Field(ge=0)] = 0
    ram_gib: Annotated[float, Field(ge=0)] = 0
    compute_capability: Annotated[float, Field(ge=5, le=20)] | None = None  # at least; 8.9 for FP8


class Limits(Strict):
    """What may be asked for. ``sizes`` are "WIDTHxHEIGHT"; any legal size when empty."""

    sizes: tuple[Size, ...] = ()
    size_multiple: Annotated[int, Field(ge=1)] = 8
    max_pixels: int | None = None  # width * height
    frames: tuple[int, ...] = ()  # legal counts, in full; else min, max and step rule
    max_frames: int | None = None
    frame_step: Annotated[int, Field(ge=1)] = 1  # legal counts are 1 + k * frame_step
    max_pixel_frames: int | None = None  # width * height * frames, what fits in memory
    max_steps: Annotated[int, Field(ge=1)] = 100


class Transfer(Strict):
    """What comes from host memory to the GPU for each clip of the defaults."""

    streamed_gb: Annotated[float, Field(ge=0)] = 0  # while the GPU computes
    hidden_share: Annotated[float, Field(ge=0, le=1)] = 1  # of the clip's time, beside which it can come
    waited_gb: Annotated[float, Field(ge=0)] = 0  # the GPU waits for it


class Profile(Strict):
    """One way to run the model; profiles stand best first."""

    name: Name
    title: str  # one line for people: what it trades
    needs: Needs
    settings: dict[str, Any] = Field(default_factory=dict)  # keys and values as the family has them
    limits: Limits | None = None  # instead of the manifest's, where memory allows less
    defaults: dict[str, Any] = Field(default_factory=dict)  # over the manifest's, where its own would not fit
    # As the manifest's, where the profile is slower or makes smaller clips.
    clip_seconds: Annotated[float, Field(gt=0)] | None = None
    transfer: Transfer | None = None  # None: nothing comes, or nobody knows
    measured: str | None = None  # the command and the card that gave the numbers


class Manifest(Strict):
    """The whole file."""

    name: Name
    title: str
    summary: str
    family: FamilyByName
    inputs: tuple[Literal["text", "image"], ...]
    optional_inputs: tuple[Literal["text", "image"], ...] = ()  # of these, what a request may leave out
    licence: Licence
    source: Source
    files: Annotated[tuple[File, ...], Field(min_length=1)]
    components: dict[str, Inside]  # role -> a file's path, or a folder within the source
    config: str | None = None  # component configs: a name that the engine brings, or a folder of the files
    defaults: dict[str, Any] = Field(default_factory=dict)  # request parameters
    recipe: dict[str, Any] = Field(default_factory=dict)  # facts that no request changes
    # Measured: of the defaults, warm, on the card of choose/card_speeds.yaml; None where nobody did.
    clip_seconds: Annotated[float, Field(gt=0)] | None = None
    limits: Limits
    profiles: Annotated[tuple[Profile, ...], Field(min_length=1)]

    @property
    def download_bytes(self) -> int:
        """What all files weigh together."""
        return sum(file.bytes for file in self.files)
