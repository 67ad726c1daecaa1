"""Where people and this machine itself reach the kit, and the token that opens it."""

from __future__ import annotations

from dataclasses import dataclass

from bootstrap import data_directory
from bootstrap.launch import listener, tls
from bootstrap.launch.location import Location
from bootstrap.settings import Settings


@dataclass
class Address:
    """``url`` is for people and may be learnt late; ``local_url`` is for the kit's own processes."""

    url: str
    local_url: str
    token: str
    asks_for_token: bool
    fingerprint: str | None = None  # of the port's own certificate

    @classmethod
    def of(cls, settings: Settings, here: Location) -> Address:
        """Keeps the token in its file, where the front reads it."""
        assert settings.data_dir is not None, "settled"
        local_url = listener.local_url(settings.host, settings.port)
        url = here.public_url or local_url
        if here.platform.NAME == "bare" and settings.host not in listener.ANY:
            url = local_url
        fingerprint = None
        if settings.tls_certificate and settings.tls_key:
            url = url.replace("http://", "https://", 1)
            fingerprint = tls.Files(settings.tls_certificate, settings.tls_key).fingerprint()
        wanted = settings.token.get_secret_value() if settings.token else None
        token = data_directory.keep_token(settings.data_dir / data_directory.TOKEN, wanted)
        return cls(url, local_url, token, settings.auth == "on", fingerprint)

    def shown(self, *, to_log: bool) -> str:
        """With the token, for the one who started it; never in a log of ours."""
        return f"{self.url}/?token={self.token}" if self.asks_for_token and not to_log else f"{self.url}/"
