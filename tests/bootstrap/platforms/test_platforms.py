"""Each marketplace's environment as its documentation lists it, and the traps of each."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bootstrap import platforms
from bootstrap.errors import KitError
from bootstrap.platforms.base import Env, StopRequest
from bootstrap.platforms.docker import here as docker
from tests.bootstrap.platforms.environments import RUNPOD, SERVERLESS, VAST


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "bare"),
        ({"PLATFORM": "clore"}, "clore"),
        ({"PLATFORM": "CLORE "}, "clore"),
        ({"PLATFORM": "runpod_serverless"}, "runpod-serverless"),
        ({"PLATFORM": "bare", **RUNPOD}, "bare"),  # what is named wins over what is seen
        (RUNPOD, "runpod"),
        (SERVERLESS, "runpod-serverless"),
        ({"RUNPOD_ENDPOINT_ID": "ep1"}, "runpod-serverless"),
        (VAST, "vast"),
        ({"VAST_TCP_PORT_8000": "1"}, "vast"),
        ({"VAST_CONTAINERLABEL": "C.1"}, "bare"),  # alone it is anybody's variable
        ({"CONTAINER_ID": "abc"}, "bare"),
        ({"MY_NOTE": "moved from RUNPOD to VAST"}, "bare"),  # a value that only mentions them
        ({"PUBLIC_URL": "https://ab12.us.clorecloud.net"}, "clore"),
        ({"container": "podman"}, "docker"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "docker"),
        ({"PLATFORM": ""}, "bare"),  # compose files set empty variables
    ],
)
def test_the_platform_is_recognised(env: Env, name: str) -> None:
    platform = platforms.detect(env)
    assert name == platform.NAME


def test_a_container_without_any_variable_is_docker() -> None:
    assert platforms.detect({}, in_container=True).NAME == "docker"
    assert platforms.detect(RUNPOD, in_container=True).NAME == "runpod"


def test_the_files_of_a_container_are_seen(tmp_path: Path) -> None:
    assert not docker.is_container(tmp_path)
    (tmp_path / ".dockerenv").touch()
    assert docker.is_container(tmp_path)


def test_an_unknown_platform_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(KitError) as error:
        platforms.detect({"PLATFORM": "moon"})
    assert "vast" in error.value.fix


@pytest.mark.parametrize(
    ("env", "url"),
    [
        (RUNPOD, "https://w3xyz-8000.proxy.runpod.net"),  # https always, whatever the local TLS is
        ({**RUNPOD, "RUNPOD_TCP_PORT_8000": "17000"}, "http://203.0.113.7:17000"),  # no proxy, no 100 s
        (
            {**RUNPOD, "RUNPOD_TCP_PORT_8000": "17000", "RUNPOD_PUBLIC_IP": ""},
            "https://w3xyz-8000.proxy.runpod.net",
        ),
        (SERVERLESS, "https://ep1.api.runpod.ai"),
        (VAST, "http://198.51.100.4:40123"),
        ({**VAST, "ENABLE_HTTPS": "true"}, "https://198.51.100.4:40123"),
        ({**VAST, "PUBLIC_IPADDR": "2001:db8::1"}, "http://[2001:db8::1]:40123"),
        ({"CONTAINER_ID": "1", "VAST_CONTAINERLABEL": "C.1", "PUBLIC_IPADDR": "198.51.100.4"}, None),
        ({"PLATFORM": "clore"}, None),  # unknown until the first request
        ({"PLATFORM": "clore", "PUBLIC_URL": "https://a.us.clorecloud.net/"}, "https://a.us.clorecloud.net"),
        ({"PLATFORM": "docker"}, None),
        ({}, "http://127.0.0.1:8000"),
        ({**VAST, "PUBLIC_URL": "https://video.example.org/"}, "https://video.example.org"),
    ],
)
def test_the_address_of_a_port(env: Env, url: str | None) -> None:
    assert platforms.public_url(platforms.detect(env), env, 8000) == url


@pytest.mark.parametrize(
    ("env", "data_dir"),
    [
        (RUNPOD, "/workspace/kinokit"),
        (SERVERLESS, "/runpod-volume/kinokit"),
        (VAST, "/workspace/kinokit"),
        ({**VAST, "DATA_DIRECTORY": "/mnt/big/"}, "/mnt/big/kinokit"),
        ({"PLATFORM": "clore", "HOME": "/root"}, "/root/kinokit"),
        ({"HOME": "/home/ada"}, "/home/ada/.local/share/kinokit"),
        ({"HOME": "/home/ada", "XDG_DATA_HOME": "/data/ada"}, "/data/ada/kinokit"),
    ],
)
def test_files_go_where_they_last_the_longest(env: Env, data_dir: str) -> None:
    assert platforms.detect(env).data_dir(env) == data_dir


@pytest.mark.parametrize(
    ("env", "seconds"),
    [(RUNPOD, 100), (SERVERLESS, 330), (VAST, None), ({"PLATFORM": "clore"}, None), ({}, None)],
)
def test_the_time_after_which_the_proxy_cuts_a_request(env: Env, seconds: float | None) -> None:
    platform = platforms.detect(env)
    assert seconds == platform.PROXY_TIMEOUT_SECONDS


@pytest.mark.parametrize(
    ("env", "port"),
    [
        (RUNPOD, None),
        ({**RUNPOD, "RUNPOD_TCP_PORT_8000": "17000"}, 17000),
        ({**RUNPOD, "RUNPOD_TCP_PORT_8000": ""}, None),
        (SERVERLESS, None),
        (VAST, None),  # no proxy is there to pass by
        ({}, None),
    ],
)
def test_the_port_where_requests_pass_the_proxy_by(env: Env, port: int | None) -> None:
    assert platforms.detect(env).direct_port(env, 8000) == port


@pytest.mark.parametrize(
    ("env", "request_"),
    [
        (RUNPOD, StopRequest("POST", "https://rest.runpod.io/v1/pods/w3xyz/stop", "RUNPOD_API_KEY")),
        ({"RUNPOD_POD_ID": "w3xyz"}, None),
        (
            VAST,
            StopRequest(
                "PUT",
                "https://console.vast.ai/api/v0/instances/1234567/",
                "CONTAINER_API_KEY",
                {"state": "stopped"},
            ),
        ),
        ({"VAST_TCP_PORT_8000": "1"}, None),
        (
            {"PLATFORM": "clore", "CLORE_API_KEY": "account"},
            None,
        ),  # an account's key is never used in the box
        (SERVERLESS, None),
        ({}, None),
    ],
)
def test_a_box_stops_itself_only_with_a_key_of_its_own(env: Env, request_: StopRequest | None) -> None:
    stop = platforms.detect(env).stop(env)
    assert stop.request == request_
    assert stop.description


def test_no_key_is_part_of_what_can_be_printed() -> None:
    for env in (RUNPOD, VAST):
        assert "secret" not in repr(platforms.detect(env).stop(env))


class Api(BaseHTTPRequestHandler):
    """A marketplace's API: keeps what it was asked."""

    asked: list[tuple[str, str, str | None, object]] = []  # noqa: RUF012 - one per test class would hide the point

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.command, self.path, self.headers["Authorization"], body))
        self.send_response(200 if self.headers["Authorization"] == "Bearer vast_secret" else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def api() -> Iterator[str]:
    Api.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_stop_request_carries_the_key(api: str) -> None:
    stop = platforms.detect(VAST).stop(VAST)
    assert stop.request is not None
    here = replace(stop, request=replace(stop.request, url=f"{api}/api/v0/instances/1234567/"))
    assert platforms.stop_box(here, VAST)
    assert Api.asked == [("PUT", "/api/v0/instances/1234567/", "Bearer vast_secret", {"state": "stopped"})]
    assert not platforms.stop_box(here, {**VAST, "CONTAINER_API_KEY": "another"})
    assert not platforms.stop_box(here, {})


def test_a_box_that_cannot_stop_itself_says_so() -> None:
    assert not platforms.stop_box(platforms.detect({}).stop({}), {})
