"""The public key that a rented box lets in."""

from __future__ import annotations

from pathlib import Path

from bootstrap.errors import KitError

FIX = "give the file that ends in .pub, make one with `ssh-keygen -t ed25519`, or leave --ssh-key out"
KINDS = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-")
LONGEST_BYTES = 16 * 1024


def read(path: Path | None) -> str | None:
    """The key's line; None without a path. KitError when there is none, and for a private key."""
    if path is None:
        return None
    path = path.expanduser()
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_BYTES).decode(errors="replace").strip()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise KitError(f"the public key {path} cannot be read: {reason}", fix=FIX) from error
    if "PRIVATE KEY" in text:
        raise KitError(f"{path} is a private key, which must never leave this machine", fix=FIX)
    if not text.startswith(KINDS) or "\n" in text:
        raise KitError(f"{path} holds no public key of SSH", fix=FIX)
    return text
