"""The start script of a release: it says its version, and installs the release's wheel by default."""

from __future__ import annotations

from pathlib import Path

SHEBANG = "#!/bin/sh\n"
DEFAULT = 'source_="${KINOKIT_SOURCE:-kinokit}"\n'


def bake(script: Path, version: str, commit: str, wheel_url: str | None) -> str:
    """The text of ``script`` with both written into it. ValueError when it has no such places."""
    text = script.read_text(encoding="utf-8")
    if not text.startswith(SHEBANG) or text.count(DEFAULT) != 1:
        raise ValueError(f"{script} has no place for the version and the source")
    source = DEFAULT.replace("-kinokit}", f"-{wheel_url or f'kinokit=={version}'}}}")
    head = f"{SHEBANG}# kinokit {version}, commit {commit}\n"
    said = f'{source}say "this is kinokit {version}, commit {commit[:12]}"\n'
    return head + text.removeprefix(SHEBANG).replace(DEFAULT, said)
