"""Images laid out like those that people choose on marketplaces, made from the tests' Debian."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.images import bases
from tests.images.engine import Engine, once

# What Ubuntu's, NVIDIA's and PyTorch's images have in common: Python and a program that fetches.
PYTHON = """
RUN apt-get update -qq \\
 && apt-get install -y -qq --no-install-recommends curl python3 python3-venv > /dev/null \\
 && useradd --create-home --uid 1000 ubuntu
"""
LAYOUTS = {
    # Its python3 is too old, the newer one has a name of its own.
    "ubuntu-22.04": r"RUN rm /usr/bin/python3 && printf '#!/bin/sh\nexit 1\n' > /usr/bin/python3"
    " && chmod 755 /usr/bin/python3",
    # An entrypoint that greets and runs what it is given.
    "cuda": r"""
RUN printf '#!/bin/sh\necho == CUDA ==\nexec "$@"\n' > /opt/nvidia_entrypoint.sh \
 && chmod 755 /opt/nvidia_entrypoint.sh
ENV CUDA_VERSION=12.8.1 NVIDIA_VISIBLE_DEVICES=all LD_LIBRARY_PATH=/usr/local/nvidia/lib64
ENTRYPOINT ["/opt/nvidia_entrypoint.sh"]
""",
    # Python in a place of its own, before the system's, with torch.
    "pytorch": r"""
RUN mkdir -p /opt/conda/bin && ln -s /usr/bin/python3.11 /opt/conda/bin/python \
 && ln -s /usr/bin/python3.11 /opt/conda/bin/python3 \
 && cd /usr/lib/python3/dist-packages && mkdir torch torch-2.11.0.dist-info \
 && echo "__version__ = '2.11.0+cu130'" > torch/__init__.py \
 && printf 'Metadata-Version: 2.1\nName: torch\nVersion: 2.11.0+cu130\n' > torch-2.11.0.dist-info/METADATA
ENV PATH=/opt/conda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
""",
}


def build(engine: Engine, name: str) -> str:
    """The tag of a layout; "debian" is the bare one."""
    debian = bases.debian(engine)
    if name == "debian":
        return debian
    with once("layouts"):
        common = _built(engine, "python", f"FROM {debian}\n{PYTHON}")
        return _built(engine, name, f"FROM {common}\n{LAYOUTS[name]}")


def _built(engine: Engine, name: str, dockerfile: str) -> str:
    tag = f"kinokit-test-layout:{name}"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text(dockerfile)
        engine.run("build", "--network=host", "-q", "-t", tag, folder)
    return tag
