"""Whose certificates are trusted: the system's, and those that the usual variables name."""

from __future__ import annotations

import os
import re
import ssl
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bootstrap.errors import KitError

# Each is a file or a folder; of SSL_CERT_DIR several, with : between them.
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Where systems keep theirs: Debian, Red Hat, SUSE, Alpine and macOS.
PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

_making = threading.Lock()


def context() -> ssl.SSLContext:
    """For connections from this process. KitError where a variable names what cannot be read."""
    with _making:  # connections begin at once, and each would read all certificates
        return _of_process()


@cache
def _of_process() -> ssl.SSLContext:
    return trusting(os.environ)


def trusting(env: Mapping[str, str]) -> ssl.SSLContext:
    """The system's certificates, or certifi's on an image that has none, and the user's own beside them."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not _add_systems(made):
        import certifi  # comes with httpx; needed only on images without ca-certificates

        made.load_verify_locations(certifi.where())
    for path, variable in named(env).items():
        _add(made, path, variable)
    return made


def named(env: Mapping[str, str]) -> dict[Path, str]:
    """Each path that a variable names, once, and the first variable that does."""
    found: dict[Path, str] = {}
    for variable in VARIABLES:
        separator = os.pathsep if variable == "SSL_CERT_DIR" else "\n"
        for text in env.get(variable, "").split(separator):
            if text.strip():
                found.setdefault(Path(text.strip()).expanduser(), variable)
    return found


def for_other_programs(env: Mapping[str, str]) -> dict[str, str]:
    """SSL_CERT_FILE for a program that reads no other of the variables; empty when it needs nothing."""
    file = next((str(path) for path in named(env) if path.is_file()), None)
    return {} if env.get("SSL_CERT_FILE") or file is None else {"SSL_CERT_FILE": file}


def _add_systems(made: ssl.SSLContext) -> bool:
    """Whether there are any."""
    paths = ssl.get_default_verify_paths()
    for place in map(Path, (paths.openssl_cafile, *PLACES)):
        try:
            if place.is_file():
                made.load_verify_locations(place)
                break
        except (OSError, ssl.SSLError):
            continue
    folder = Path(paths.openssl_capath)
    has_folder = folder.is_dir() and any(map(_is_hashed, folder.iterdir()))
    if has_folder:
        made.load_verify_locations(capath=folder)
    return has_folder or bool(made.cert_store_stats()["x509_ca"])


def _add(made: ssl.SSLContext, path: Path, variable: str) -> None:
    fix = f"correct {variable}, or remove it: the system's certificates are trusted anyway"
    try:
        if not path.is_dir():
            made.load_verify_locations(path)
            return
        made.load_verify_locations(capath=path)
        entries = list(path.iterdir())
        if not any(map(_is_hashed, entries)):  # OpenSSL finds only names that c_rehash has made
            for file in entries:
                if file.suffix in (".pem", ".crt"):
                    made.load_verify_locations(file)
    except ssl.SSLError as error:
        raise KitError(
            f"{variable} names {path}, which holds no certificates in PEM form", fix=fix
        ) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise KitError(f"{variable} names {path}, which cannot be read: {reason}", fix=fix) from error


def _is_hashed(path: Path) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}\.\d+", path.name) is not None
