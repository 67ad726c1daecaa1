"""The wheel and the sdist, the same bytes for the same commit."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CONTENT = ("bootstrap", "services", "model-manifests", "requirements")
BESIDE = ("pyproject.toml", "README.md", "LICENSE")
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # setuptools puts its own words into sys.argv
build_meta.build_wheel(out)
build_meta.build_sdist(out)
"""


def build(root: Path, out: Path, release: str, epoch: int) -> tuple[Path, Path]:
    """Build both from the tracked files of ``root``; returns the wheel and the sdist.

    ``release``: the text of release.json, which only the built packages hold. ``epoch``: seconds since 1970,
    which all files carry as their time.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder) / "source", Path(folder) / "built"
        _stage(root, source)
        (source / "bootstrap/publication/release.json").write_text(release)
        for path in source.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            os.utime(path, (epoch, epoch))
        built.mkdir()
        env = {**os.environ, "SOURCE_DATE_EPOCH": str(max(epoch, 315532800)), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-W", "ignore", "-c", BUILD, str(built)]
        done = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(f"the wheel could not be built: {done.stderr[-2000:]}")
        wheel, sdist = next(built.glob("*.whl")), next(built.glob("*.tar.gz"))
        (out / sdist.name).write_bytes(_packed_again(sdist, epoch))
        shutil.copy(wheel, out)
    return out / wheel.name, out / sdist.name


def tracked(root: Path, *below: str) -> list[str]:
    """The files of the checkout that git knows, and those that are new and not ignored."""
    command = ["git", "-C", str(root), "ls-files", "-zco", "--exclude-standard", "--", *below]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    return sorted(name for name in listed.stdout.split("\0") if name and (root / name).is_file())


def _stage(root: Path, source: Path) -> None:
    for name in tracked(root, *CONTENT, *BESIDE):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, source / name)


def _packed_again(sdist: Path, epoch: int) -> bytes:
    """The archive with its members in order, and nothing of this machine in it."""
    plain = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            content = old.extractfile(member)
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.pax_headers = {}
            new.addfile(member, content)
    return gzip.compress(plain.getvalue(), mtime=epoch)
