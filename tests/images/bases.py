"""What tests build the images from: a Debian made by debootstrap, and the wheels of the pinned files."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.images.engine import CACHE, ROOT, Engine, once

REQUIREMENTS = ("core", "gpu", "ui", "serverless", "uv")


def debian(engine: Engine) -> str:
    """A minimal Debian 12 with this machine's CA bundle, so that https works behind a company's proxy too."""
    tag = "kinokit-test-debian:bookworm-slim"
    with once("debian"):
        if engine.run("image", "inspect", tag, check=False).returncode != 0:
            engine.import_folder(_debian_folder(), tag)
    return tag


def _debian_folder() -> Path:
    folder = CACHE / "debian"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = [
            "debootstrap",
            "--variant=minbase",
            "--include=ca-certificates",
            "bookworm",
            str(folder / "root"),
        ]
        subprocess.run(command, check=True, capture_output=True)
        for leftover in ("var/cache/apt/archives", "var/lib/apt/lists"):  # as published images have it
            shutil.rmtree(folder / "root" / leftover)
            (folder / "root" / leftover / "partial").mkdir(parents=True)
        bundle = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
        shutil.copy(bundle, folder / "root/etc/ssl/certs/ca-certificates.crt")
        (folder / "complete").touch()
    return folder / "root"


def _digest() -> str:
    files = [ROOT / "requirements" / f"{name}.txt" for name in REQUIREMENTS]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def wheel_folder() -> Path:
    """A folder with the wheels that the requirement files name, torch for the CPU among them."""
    folder = CACHE / f"wheels-{_digest()}"
    with once("wheels"):
        if not (folder / "complete").exists():
            download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
            download += ["-d", str(folder)]
            for name in REQUIREMENTS:
                subprocess.run([*download, "-r", str(ROOT / f"requirements/{name}.txt")], check=True)
            subprocess.run([*download, "torch==2.13.0"], check=True)
            (folder / "complete").touch()
    return folder


def wheels(engine: Engine) -> str:
    """An image whose root holds those wheels."""
    tag = f"kinokit-test-wheels:{_digest()}"
    if engine.run("image", "inspect", tag, check=False).returncode != 0:
        engine.import_folder(wheel_folder(), tag)
    return tag
