"""Links to a clip that need no token: signed with a key of this box, until a time that stands in them.

A link ends with its time, with its video, or with the key. Only reading the clip goes by it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from urllib.parse import urlencode

from bootstrap import files

SHARED = "/v1/shared/"
FILE = "link-key"
KEY_BYTES = 32


class Links:
    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / FILE

    def path(self, video_id: str, expires_at: int) -> str:
        """Below this service's address."""
        signature = _sign(self._key() or self.rotate(), video_id, expires_at)
        return f"{SHARED}{video_id}?{urlencode({'expires': expires_at, 'signature': signature})}"

    def is_signed(self, video_id: str, expires_at: int, signature: str) -> bool:
        key = self._key()
        if key is None:
            return False
        return hmac.compare_digest(_sign(key, video_id, expires_at).encode(), signature.encode())

    def rotate(self) -> bytes:
        """A new key: every link that was made before is void."""
        key = secrets.token_bytes(KEY_BYTES)
        files.replace_text(self._file, key.hex(), mode=0o600)
        return key

    def _key(self) -> bytes | None:
        try:
            return bytes.fromhex(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return None


def opens(method: str, path: str) -> bool:
    """Whether the door lets this pass: the signature is looked at behind it."""
    return method in ("GET", "HEAD") and path.startswith(SHARED)


def _sign(key: bytes, video_id: str, expires_at: int) -> str:
    return hmac.new(key, f"{video_id}\n{expires_at}".encode(), hashlib.sha256).hexdigest()
