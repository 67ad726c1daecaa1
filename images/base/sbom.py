"""What is inside of an image: Debian's and Python's packages, as CycloneDX 1.5 on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions


def component(kind: str, name: str, version: str) -> dict[str, str]:
    return {"type": "library", "name": name, "version": version, "purl": f"pkg:{kind}/{name}@{version}"}


def debian() -> list[dict[str, str]]:
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n"], capture_output=True, text=True, check=True
    )
    return [component("deb/debian", *line.split(" ", 1)) for line in listed.stdout.splitlines()]


def python() -> list[dict[str, str]]:
    found = {each.metadata["Name"].lower().replace("_", "-"): each.version for each in distributions()}
    return [component("pypi", name, version) for name, version in sorted(found.items())]


if __name__ == "__main__":
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": debian() + python(),
    }
    json.dump(document, sys.stdout, indent=1)
