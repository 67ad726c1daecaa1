"""A manifest of one's own on its way to a rented box: by its address, or packed into the box's variables.

KINOKIT_MANIFEST_1, _2 … hold it as JSON, compressed and in base64, because marketplaces limit a variable's
length and mangle other signs. KINOKIT_MODEL is its name.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap import files
from bootstrap.choose import reading
from bootstrap.choose.manifest import MANIFEST_FOLDER, Manifest
from bootstrap.errors import KitError
from bootstrap.yaml_errors import Document

PREFIX = "KINOKIT_MANIFEST_"
VALUE_CHARACTERS = 240  # Clore refuses longer ones
MOST_VARIABLES = 40
BY_ADDRESS = "put it on the net and give its https address as --model"


@dataclass(frozen=True)
class Parcel:
    """What the box is told: the value of KINOKIT_MODEL, and further variables."""

    model: str
    variables: Mapping[str, str] = field(default_factory=dict)


def pack(name_path_or_url: str, manifest: Manifest) -> Parcel:
    """For ``manifest``, as it was loaded from there. KitError when it cannot travel."""
    if "://" in name_path_or_url:
        if re.search(r"//[^/@]*@", name_path_or_url):
            raise KitError(
                "the manifest's address holds credentials, which the owner of the rented machine could read",
                fix="give an address that needs none, or a local file",
            )
        return Parcel(name_path_or_url)
    path = reading.path_of(name_path_or_url)
    if path in reading.shipped().values():
        return Parcel(manifest.name)
    _check_travels(path, manifest)
    document = Document(path.read_text(encoding="utf-8")).data
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str)
    packed = base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode()
    parts = [packed[at : at + VALUE_CHARACTERS] for at in range(0, len(packed), VALUE_CHARACTERS)]
    if len(parts) > MOST_VARIABLES:
        raise KitError(
            f"{path} is too long to be sent along: {len(packed)} characters,"
            f" {MOST_VARIABLES * VALUE_CHARACTERS} are possible",
            fix=BY_ADDRESS,
        )
    return Parcel(manifest.name, {f"{PREFIX}{number}": part for number, part in enumerate(parts, 1)})


def _check_travels(path: Path, manifest: Manifest) -> None:
    """A rented box has none of this machine's files."""
    for source in (manifest.source, *(file.source for file in manifest.files)):
        if source is not None and source.folder is not None:
            raise KitError(
                f"{path} names the local folder {source.folder}, which a rented box does not have",
                fix="name a hub repository or an https url as the source of its files",
            )
    family = path.parent / reading.FAMILIES / f"{manifest.family.name}.yaml"
    if family.is_file() and path.parent != MANIFEST_FOLDER:
        raise KitError(
            f"the family {manifest.family.name} lies in {family}, which a rented box does not have",
            fix="publish a checkout that holds it in model-manifests/families, and rent from there",
        )


def unpack(model: str, env: Mapping[str, str], data_dir: Path) -> str:
    """What the box loads: the path of the manifest that came along as ``model``, else ``model`` itself."""
    text = _text(env)
    if text is None or json.loads(text).get("name") != model:
        return model
    path = data_dir / "manifests" / f"{model}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace_text(path, text)
    except OSError as error:
        raise KitError(
            f"the manifest that came along cannot be written to {path.parent}: {error.strerror}",
            fix="choose a data directory that this user may write to: KINOKIT_DATA_DIR",
        ) from error
    return str(path)


def _text(env: Mapping[str, str]) -> str | None:
    names = sorted((name for name in env if re.fullmatch(rf"{PREFIX}\d+", name)), key=lambda n: (len(n), n))
    if not names:
        return None
    try:
        packed = "".join(env[name].strip() for name in names)
        text = zlib.decompress(base64.urlsafe_b64decode(packed)).decode()
        if isinstance(json.loads(text), dict):
            return text
    except (binascii.Error, zlib.error, ValueError):
        pass
    raise KitError(
        f"the manifest in {names[0]} to {names[-1]} is not whole: a variable is missing or was changed",
        fix="print the variables again with `kinokit startup` and copy all of them",
    )
