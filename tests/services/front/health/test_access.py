"""How long an answer may take is the platform's own limit, by the way that the request came."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from starlette.requests import Request

from bootstrap.launch import location
from bootstrap.settings import Settings
from services.front.health.access import LONGEST_ANSWER_SECONDS, Access

POD = {"RUNPOD_POD_ID": "w3xyz", "RUNPOD_PUBLIC_IP": "203.0.113.7"}
POD_WITH_TCP = {**POD, "RUNPOD_TCP_PORT_8000": "17000"}
SERVERLESS = {"RUNPOD_POD_ID": "w3xyz", "RUNPOD_ENDPOINT_ID": "ep1"}
VAST = {"CONTAINER_ID": "1", "VAST_CONTAINERLABEL": "C.1", "PUBLIC_IPADDR": "198.51.100.4"}


def request(host: str) -> Request:
    return Request({"type": "http", "method": "POST", "path": "/", "headers": [(b"host", host.encode())]})


@pytest.mark.parametrize(
    ("env", "host", "seconds"),
    [
        (POD, "w3xyz-8000.proxy.runpod.net", 90),
        (POD_WITH_TCP, "w3xyz-8000.proxy.runpod.net", 90),
        (POD_WITH_TCP, "203.0.113.7:17000", LONGEST_ANSWER_SECONDS),
        (POD_WITH_TCP, "[2001:db8::1]:17000", LONGEST_ANSWER_SECONDS),
        (POD_WITH_TCP, "my-name.example.org:17000", LONGEST_ANSWER_SECONDS),
        (POD_WITH_TCP, "127.0.0.1:8000", 90),  # a proxy may write the inner address
        (POD, "203.0.113.7:17000", 90),
        (SERVERLESS, "ep1.api.runpod.ai", 320),
        (VAST, "198.51.100.4:40123", LONGEST_ANSWER_SECONDS),
        ({"PLATFORM": "clore"}, "x7.eu.clorecloud.net", LONGEST_ANSWER_SECONDS),
        ({}, "127.0.0.1:8000", LONGEST_ANSWER_SECONDS),
    ],
)
def test_an_answer_ends_before_the_platforms_proxy_cuts_it(
    env: Mapping[str, str], host: str, seconds: float
) -> None:
    site = location.of(Settings(), {"HOME": "/root", **env}, in_container=True)
    assert Access.read({"access": site.access()}).answer_seconds(request(host)) == seconds


def test_before_the_agent_has_written_nothing_is_known() -> None:
    assert Access.read({}) == Access()
