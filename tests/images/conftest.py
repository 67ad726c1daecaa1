"""Images built once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.images import bases, chain, engine


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
    tags = {}
    for image, parent in chain.images():
        known = {
            "BASE_IMAGE": bases.debian(docker),
            "BASE": f"kinokit-{parent}:test",
            "WHEELS": wheels,
            "TORCH_REQUIREMENTS": "torch-cpu.txt",
        }
        wanted = chain.arguments(image)
        tags[image] = f"kinokit-{image}:test"
        docker.build(image, tags[image], **{name: known[name] for name in wanted})
    return tags
