"""Images built once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.images import bases, engine


@pytest.fixture(scope="session")
def docker() -> Iterator[engine.Engine]:
    try:
        running = engine.start()
    except engine.Unavailable as reason:
        pytest.skip(str(reason))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def images(docker: engine.Engine) -> dict[str, str]:
    """Every image of the chain, built from its real Dockerfile; the tag of each by name."""
    wheels = bases.wheels(docker)
    docker.build("base", "kinokit-base:test", BASE_IMAGE=bases.debian(docker), WHEELS=wheels)
    docker.build(
        "gpu", "kinokit-gpu:test", BASE="kinokit-base:test", WHEELS=wheels, TORCH_REQUIREMENTS="torch-cpu.txt"
    )
    docker.build("api", "kinokit-api:test", BASE="kinokit-gpu:test")
    docker.build("ui", "kinokit-ui:test", BASE="kinokit-gpu:test", WHEELS=wheels)
    docker.build("serverless", "kinokit-serverless:test", BASE="kinokit-api:test", WHEELS=wheels)
    return {name: f"kinokit-{name}:test" for name in ("base", "gpu", "api", "ui", "serverless")}
