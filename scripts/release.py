"""Everything that a publisher uploads, in one folder: ``make release``. See docs/publishing.md."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from release_parts import images, notes, packages, sbom, start_script

from bootstrap import __version__
from bootstrap.publication import checkout
from bootstrap.publication.release import FILE_NAME

ROOT = Path(__file__).parents[1]
WHEEL = f"kinokit-{__version__}-py3-none-any.whl"


@dataclass(frozen=True)
class Release:
    """``url``: the folder on the net that will hold the files; None when nobody said."""

    out: Path
    url: str | None
    commit: str
    epoch: int
    changed_files: int

    def address(self, file: str) -> str | None:
        return f"{self.url}/{file}" if self.url else None

    def document(self, script: bytes, **more: Any) -> dict[str, Any]:
        """release.json: the one in the wheel is without ``more``."""
        wheel = {"file": WHEEL, **({"sha256": more.pop("wheel_sha256")} if "wheel_sha256" in more else {})}
        return {
            "name": "kinokit",
            "version": __version__,
            "url": self.url,
            "commit": self.commit,
            **({"changed_files": self.changed_files} if self.changed_files else {}),
            "script": {"file": "start.sh", "sha256": hashlib.sha256(script).hexdigest()},
            "wheel": wheel,
            **more,
        }


def main() -> int:
    arguments = _arguments()
    try:
        here = checkout.read(ROOT)
        problem = _refusal(here, arguments.allow_changes)
        if problem or here is None:
            print(f"error: {problem}", file=sys.stderr)
            return 1
        url = arguments.url or (here.repository.release_url(f"v{__version__}") if here.repository else None)
        out = arguments.out or ROOT / f"dist/release-{__version__}"
        made = Release(out, url.rstrip("/") if url else None, here.commit, _epoch(), here.changed_files)
        build(made, with_images=arguments.images)
    except (ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(made: Release, *, with_images: bool) -> None:
    """Write the folder anew."""
    shutil.rmtree(made.out, ignore_errors=True)
    made.out.mkdir(parents=True)
    commit, epoch = made.commit, made.epoch
    script = start_script.bake(ROOT / "scripts/start.sh", __version__, commit, made.address(WHEEL)).encode()
    (made.out / "start.sh").write_bytes(script)
    (made.out / "start.sh").chmod(0o755)
    wheel, sdist = packages.build(ROOT, made.out, _json(made.document(script)), epoch)
    _write(
        made.out / f"kinokit-{__version__}.cdx.json", _json(sbom.document(ROOT, __version__, commit, epoch))
    )
    _write(made.out / "RELEASE_NOTES.md", notes.of((ROOT / "CHANGELOG.md").read_text(), __version__))
    document = made.document(
        script,
        wheel_sha256=_sha256(wheel),
        sdist={"file": sdist.name, "sha256": _sha256(sdist)},
        images=images.build(ROOT, __version__, wanted=with_images),
    )
    _write(made.out / FILE_NAME, _json(document))
    files = sorted(path for path in made.out.iterdir())
    _write(made.out / "SHA256SUMS", "".join(f"{_sha256(path)}  {path.name}\n" for path in files))
    _tell(made, document)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="the folder on the net that will hold the files; else the forge's own")
    parser.add_argument("--out", type=Path, help="where to build; else dist/release-VERSION")
    parser.add_argument("--images", action="store_true", help="build the Docker images as well")
    parser.add_argument("--allow-changes", action="store_true", help="build what is not committed, too")
    return parser.parse_args()


def _refusal(here: checkout.Checkout | None, allow_changes: bool) -> str | None:
    if here is None:
        return "this is no git checkout, and a release is one commit of it"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if project != __version__:
        return f"pyproject.toml has version {project}, bootstrap/__init__.py has {__version__}"
    if here.tag and here.tag.startswith("v") and here.tag != f"v{__version__}":
        return f"the commit has the tag {here.tag}, and the kit is version {__version__}"
    if here.changed_files and not allow_changes:
        return f"{here.changed_files} files have changes that are not committed (--allow-changes builds them)"
    return None


def _epoch() -> int:
    """The commit's time, so that the same commit makes the same files."""
    if os.environ.get("SOURCE_DATE_EPOCH"):
        return int(os.environ["SOURCE_DATE_EPOCH"])
    shown = ["git", "-C", str(ROOT), "show", "-s", "--format=%ct", "HEAD"]
    return int(subprocess.run(shown, capture_output=True, text=True, check=True).stdout)


def _tell(made: Release, document: dict[str, Any]) -> None:
    print(f"kinokit {__version__} of commit {made.commit[:12]} in {made.out}:")
    for path in sorted(made.out.iterdir()):
        print(f"  {path.stat().st_size:>10,}  {path.name}")
    if "not_built" in document["images"]:
        print(f"images: {document['images']['not_built']}")
    if made.url is None:
        print("nobody said where it will be uploaded: RELEASE_URL=https://… writes that into the wheel")
    else:
        print(f"upload all of it to {made.url}, then: kinokit startup --source {made.url}/{FILE_NAME} …")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
