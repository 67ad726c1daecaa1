"""What the kit installs on a box, as CycloneDX 1.5: every package of every group of requirements/."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def document(root: Path, version: str, commit: str, epoch: int) -> dict[str, Any]:
    """The same for the same commit: its time and its number come from there."""
    groups: dict[tuple[str, str], set[str]] = {}
    for file in sorted((root / "requirements").glob("*.txt")):
        for name, pinned in PINNED.findall(file.read_text(encoding="utf-8")):
            groups.setdefault((re.sub(r"[-_.]+", "-", name).lower(), pinned), set()).add(file.stem)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'kinokit/{version}/{commit}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": "kinokit",
                "name": "kinokit",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": [
            _component(name, pinned, sorted(used)) for (name, pinned), used in sorted(groups.items())
        ],
    }


def _component(name: str, version: str, groups: list[str]) -> dict[str, Any]:
    address = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
    return {
        "type": "library",
        "bom-ref": address,
        "name": name,
        "version": version,
        "purl": address,
        "scope": "required" if "core" in groups else "optional",
        "properties": [{"name": "kinokit:group", "value": group} for group in groups],
    }
