"""The images of a release: built by scripts/images.sh where an engine is, else the reason why not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any


def build(root: Path, version: str, *, wanted: bool) -> dict[str, Any]:
    """Name, tag and id of each image; ``not_built`` with the reason when there is none.

    A registry gives a digest when an image is pushed: scripts/push-images.sh prints it.
    """
    if not wanted:
        return {"not_built": "not asked for: make release IMAGES=1 builds them"}
    docker = os.environ.get("DOCKER", "docker")
    if shutil.which(docker) is None:
        return {"not_built": f"no {docker} command is here"}
    if subprocess.run([docker, "info"], capture_output=True).returncode != 0:
        return {"not_built": "no Docker engine answers"}
    script = str(root / "scripts/images.sh")
    subprocess.run([script], env={**os.environ, "TAG": version}, check=True)
    listed = subprocess.run([script, "--list"], capture_output=True, text=True, check=True).stdout
    found = {}
    for image in (line.split()[0] for line in listed.splitlines()):
        tag = f"kinokit-{image}:{version}"
        inspected = subprocess.run(
            [docker, "image", "inspect", "-f", "{{.Id}}", tag], capture_output=True, text=True, check=True
        )
        found[image] = {"tag": tag, "id": inspected.stdout.strip()}
    return found
