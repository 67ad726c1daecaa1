"""The key that a rented box lets in: a public one, or an error with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bootstrap.cli import app
from bootstrap.commands import ssh_key
from bootstrap.errors import KitError

PUBLISHED = ["--source", "https://example.org/kit.whl", "--script-url", "https://example.org/start.sh"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: no such file"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "is a private key, which must never leave"),
        ("<html>", "holds no public key"),
        ("", "holds no public key"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_refused_with_a_remedy(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "key").write_text(text)
    arguments = ["startup", "--platform", "vast", "--model", "demo", "--ssh-key", str(tmp_path / "key")]
    result = CliRunner().invoke(app, [*arguments, *PUBLISHED])
    assert isinstance(result.exception, KitError), (result.output, result.exception)
    assert said in result.exception.problem and "ssh-keygen" in result.exception.fix
    assert "b3Bl" not in str(result.exception)


def test_a_folder_as_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="cannot be read: is a directory"):
        ssh_key.read(tmp_path)


def test_the_public_key_stands_in_the_order(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAAC3Nz me@here\n")
    assert ssh_key.read(tmp_path / "key.pub") == "ssh-ed25519 AAAAC3Nz me@here"
    assert ssh_key.read(None) is None
