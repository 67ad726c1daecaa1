"""The port's certificate: the user's own files, or one that the box signs itself for its own addresses."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bootstrap import files
from bootstrap.errors import KitError

if TYPE_CHECKING:
    from cryptography import x509

FOLDER = "tls"  # below the data directory
LIFE_DAYS = 397  # browsers take no certificate that lives longer
RENEW_DAYS = 30  # before its end, at a start
ALWAYS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Files:
    certificate: Path
    key: Path

    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as browsers show it: AB:CD:…"""
        first = ssl.PEM_cert_to_DER_cert(_first(self.certificate.read_text()))
        digest = hashlib.sha256(first).hexdigest().upper()
        return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))

    def settings(self) -> dict[str, Any]:
        return {"tls_certificate": str(self.certificate), "tls_key": str(self.key)}


def settle(settings: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """The settings with the files that the front shall use, or with none.

    Raises:
        KitError: a file is missing, or the key is not the certificate's.
    """
    if settings["tls"] == "off":
        return {**settings, "tls_certificate": None, "tls_key": None}
    if settings["tls"] == "auto":
        found = self_signed(Path(settings["data_dir"]) / FOLDER, names_of(settings, env))
    elif settings["tls_certificate"] and settings["tls_key"]:
        found = Files(Path(settings["tls_certificate"]), Path(settings["tls_key"]))
    else:
        raise KitError(
            "tls is files, and tls_certificate or tls_key is not set",
            fix="name both files in PEM form, or use --tls auto for a certificate of the box's own",
        )
    _check(found)
    return {**settings, **found.settings()}


def names_of(settings: Mapping[str, Any], env: Mapping[str, str]) -> list[str]:
    """What people may call this box: names and addresses, the public one first."""
    import psutil

    from bootstrap.launch import location
    from bootstrap.settings import Settings

    public = location.of(Settings.model_validate(settings), env).public_url
    found = [urlsplit(public).hostname or ""] if public else []
    found += [settings["host"], socket.gethostname(), *ALWAYS]
    for addresses in psutil.net_if_addrs().values():
        found += [each.address.partition("%")[0] for each in addresses if each.family in _IP]
    return list(dict.fromkeys(name for name in found if name and not _is_any(name)))


def self_signed(folder: Path, names: Sequence[str]) -> Files:
    """The certificate that is there, while it has all names and does not end soon; else a new one."""
    found = Files(folder / "certificate.pem", folder / "key.pem")
    with suppress(OSError, ValueError, KitError):
        if _serves(found, names):
            return found
    files.make_folder(folder)
    certificate, key = _made(names)
    files.replace_bytes(found.key, key, mode=0o600, sync=True)
    files.replace_bytes(found.certificate, certificate, sync=True)
    return found


def _serves(found: Files, names: Sequence[str]) -> bool:
    from cryptography import x509

    _check(found)
    certificate = x509.load_pem_x509_certificate(found.certificate.read_bytes())
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    there = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return left > datetime.timedelta(days=RENEW_DAYS) and set(_general(names)) <= set(there)


def _made(names: Sequence[str]) -> tuple[bytes, bytes]:
    """A certificate and its key, both in PEM form."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kinokit")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + datetime.timedelta(days=LIFE_DAYS - 1))
        .add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(identifier.digest, None, None), critical=False)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return made.public_bytes(pem), key.private_bytes(pem, kind, plain)


def _key_usage() -> x509.KeyUsage:
    """It signs itself, and the server's answers."""
    from cryptography import x509

    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    unused = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=True, **unused)


def _general(names: Iterable[str]) -> list[x509.GeneralName]:
    from cryptography import x509

    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            with suppress(ValueError):  # a host's name may be none for a certificate
                found.append(x509.DNSName(name))
    return found


def _check(found: Files) -> None:
    fix = "name a certificate and its own key in PEM form by tls_certificate and tls_key"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(found.certificate, found.key, password="")
    except ssl.SSLError as error:
        raise KitError(
            f"{found.certificate} and {found.key} are no certificate with its key", fix=fix
        ) from error
    except OSError as error:
        missing = found.key if os.access(found.certificate, os.R_OK) else found.certificate
        raise KitError(f"{missing} cannot be read: {error.strerror}", fix=fix) from error


def _first(pem: str) -> str:
    return pem[: pem.index(END) + len(END)][pem.index(BEGIN) :] if BEGIN in pem and END in pem else pem


BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_IP = (socket.AF_INET, socket.AF_INET6)


def _is_any(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False
