"""Writes the sizes and sums of a model's files into its manifest, between `files:` and the next key."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


def update(manifest: Path, folder: Path) -> None:
    """Replace the manifest's `files:` list by what lies in the folder."""
    lines = ["files:\n"]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        lines.append(f"  - path: {path.relative_to(folder).as_posix()}\n")
        lines.append(f"    bytes: {len(content)}\n")
        lines.append(f"    sha256: {hashlib.sha256(content).hexdigest()}\n")
    text, count = re.subn(r"^files:\n(?:[ -].*\n)*", "".join(lines), manifest.read_text(), flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{manifest} has {count} lists of files, not 1")
    manifest.write_text(text)
