"""The port's certificate: made once, kept, and made anew when it no longer fits."""

from __future__ import annotations

import datetime
import re
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from bootstrap.errors import KitError
from bootstrap.launch import tls

NAMES = ["203.0.113.7", "box.example.org", "::1"]


def test_it_is_for_the_boxs_names_and_addresses_and_its_key_is_for_nobody_else(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path / "tls", NAMES)
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    there = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in there.get_values_for_type(x509.IPAddress)] == ["203.0.113.7", "::1"]
    assert there.get_values_for_type(x509.DNSName) == ["box.example.org"]
    assert made.key.stat().st_mode & 0o777 == 0o600
    lives = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lives <= datetime.timedelta(days=398), "no browser takes one that lives longer"


def test_it_is_kept_as_long_as_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tls.self_signed(tmp_path, NAMES).fingerprint()
    assert tls.self_signed(tmp_path, NAMES[:1]).fingerprint() == first
    other = tls.self_signed(tmp_path, [*NAMES, "198.51.100.4"]).fingerprint()
    assert other != first, "another address"
    monkeypatch.setattr(tls, "RENEW_DAYS", tls.LIFE_DAYS + 1)
    assert tls.self_signed(tmp_path, NAMES).fingerprint() != other, "near its end"


def test_one_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path, NAMES)
    made.key.write_text("nothing")
    tls.self_signed(tmp_path, NAMES)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.certificate, made.key)


def test_the_fingerprint_is_what_browsers_show(tmp_path: Path) -> None:
    made = tls.self_signed(tmp_path, NAMES)
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", made.fingerprint())
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    from cryptography.hazmat.primitives import hashes

    assert made.fingerprint().replace(":", "").lower() == certificate.fingerprint(hashes.SHA256()).hex()


def test_files_of_the_users_own_are_checked_before_the_port_is_given_to_anybody(tmp_path: Path) -> None:
    made, other = tls.self_signed(tmp_path / "a", NAMES), tls.self_signed(tmp_path / "b", NAMES)
    settings = {"tls": "files", **made.settings()}
    assert tls.settle(settings, {}) == settings
    for wrong, problem in (
        ({"tls_key": None}, "tls_certificate or tls_key is not set"),
        ({"tls_key": str(other.key)}, "no certificate with its key"),
        ({"tls_key": str(tmp_path / "none")}, "none cannot be read"),
    ):
        with pytest.raises(KitError, match=problem):
            tls.settle(settings | wrong, {})


def test_without_it_no_file_is_used(tmp_path: Path) -> None:
    settled = tls.settle({"tls": "off", "tls_certificate": "a", "tls_key": "b"}, {})
    assert (settled["tls_certificate"], settled["tls_key"]) == (None, None)
