"""Authorities of one's own, by each variable that other tools read."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest

from bootstrap import certificates
from bootstrap.errors import KitError
from tests.hub.server import certificate


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("own"))[0]


def subjects(context: ssl.SSLContext) -> str:
    return str([each["subject"] for each in context.get_ca_certs()])


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_file_is_trusted_beside_the_systems(own: Path, variable: str) -> None:
    alone = certificates.trusting({})
    both = certificates.trusting({variable: str(own)})
    assert "'hub'" in subjects(both) and "'hub'" not in subjects(alone)
    assert both.cert_store_stats()["x509_ca"] > alone.cert_store_stats()["x509_ca"] > 10
    assert both.verify_mode is ssl.CERT_REQUIRED and both.check_hostname


@pytest.mark.parametrize("variable", certificates.VARIABLES)
def test_a_folder_of_plain_files_is_trusted(own: Path, tmp_path: Path, variable: str) -> None:
    shutil.copy(own, tmp_path / "company.crt")
    assert "'hub'" in subjects(certificates.trusting({variable: str(tmp_path)}))


def test_several_folders_may_be_named(own: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copy(own, tmp_path / "company.pem")
    assert "'hub'" in subjects(certificates.trusting({"SSL_CERT_DIR": f"{tmp_path}/empty:{tmp_path}"}))


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert certificates.named(dict.fromkeys(certificates.VARIABLES, "")) == {}


@pytest.mark.parametrize("variable", certificates.VARIABLES)
def test_a_path_that_is_not_there_is_named_with_its_variable(tmp_path: Path, variable: str) -> None:
    with pytest.raises(
        KitError, match=f"{variable} names {tmp_path}/none, which cannot be read: no such"
    ) as no:
        certificates.trusting({variable: f"{tmp_path}/none"})
    assert variable in no.value.fix


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>")
    with pytest.raises(KitError, match=r"CURL_CA_BUNDLE names .*page\.html, which holds no certificates"):
        certificates.trusting({"CURL_CA_BUNDLE": str(tmp_path / "page.html")})


def test_other_programs_get_the_file_by_the_name_that_they_read(own: Path) -> None:
    assert certificates.for_other_programs({"CURL_CA_BUNDLE": str(own)}) == {"SSL_CERT_FILE": str(own)}
    assert certificates.for_other_programs({"SSL_CERT_FILE": "/x", "CURL_CA_BUNDLE": str(own)}) == {}
    assert certificates.for_other_programs({}) == {}
