"""The README's first screen, typed by a newcomer: a fresh home, a fresh clone, two terminals."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import httpx
import pytest

from tests.images.engine import ROOT
from tests.journeys.kit import READY_SECONDS
from tests.support import photos
from tests.support.ports import free_port
from tests.support.waiting import wait_for

ENGLISH, CHINESE = (ROOT / name for name in ("README.md", "README.zh-CN.md"))
UPSTREAM = "https://github.com/kinokit/kinokit"
FOLLOWS = "make logs"  # until Ctrl-C
FOR_DEVELOPERS = ("make test", "make test-quick", "make lint")  # they are what runs this
NEEDS_GPU = "NVIDIA GPU"


def typed(readme: Path) -> list[str]:
    """The indented lines that are commands, comments left out; those of a GPU where there is one."""
    lines = re.findall(r"^    ((?:git|make|kinokit|curl|TOKEN=).*)$", readme.read_text(), re.MULTILINE)
    here = [line for line in lines if NEEDS_GPU not in line or Path("/dev/nvidiactl").exists()]
    return [line.partition("  #")[0].strip() for line in here]


def mentioned(readme: Path) -> list[str]:
    """The commands between backticks."""
    return re.findall(r"`((?:kinokit|make) [^`]*)`", readme.read_text())


@dataclass
class Newcomer:
    """``clone`` is where the first line leads."""

    home: Path
    port: int

    @property
    def clone(self) -> Path:
        return self.home / "kinokit"

    @property
    def environment(self) -> dict[str, str]:
        ours = ("PYTHON", "KINOKIT", "XDG", "VIRTUAL_ENV", "VENV", "MAKE", "MFLAGS", "TESTS_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        path = os.pathsep.join(
            each for each in kept["PATH"].split(os.pathsep) if not (Path(each) / "kinokit").exists()
        )
        return kept | {"HOME": str(self.home), "PATH": path, "PORT": str(self.port), "RUNTIME": "native"}

    def terminal(self, lines: list[str], folder: Path) -> subprocess.Popen[str]:
        """A shell in which these lines are typed; it ends at the first that fails. The port is a free one."""
        script = "\n".join(["set -ex", *lines]).replace("localhost:8000", f"localhost:{self.port}")
        return subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def types(self, *lines: str) -> str:
        terminal = self.terminal([*lines], self.clone)
        output, _ = terminal.communicate(timeout=300)
        assert terminal.returncode == 0, output
        return output


def share_what_is_installed(clone: Path) -> None:
    """The clone's own environment sees the packages of this one, so that an install finds them all."""
    venv.create(clone / ".venv", with_pip=True)
    packages = next((clone / ".venv/lib").glob("python*/site-packages"))
    ours = next((Path(sys.prefix) / "lib").glob("python*/site-packages"))
    (packages / "shared.pth").write_text(f"{clone}\n{ours}\n")
    for stamp in Path(sys.prefix).glob("installed-*"):
        shutil.copy(stamp, clone / ".venv")
    command = (Path(sys.prefix) / "bin/kinokit").read_text().partition("\n")[2]
    (clone / ".venv/bin/kinokit").write_text(f"#!{clone}/.venv/bin/python\n{command}")
    (clone / ".venv/bin/kinokit").chmod(0o755)


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """After the first lines: a service that is ready, started by what the README says."""
    made = Newcomer(tmp_path_factory.mktemp("home"), free_port())
    published = tmp_path_factory.mktemp("published")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for file in filter(None, files):
        if (ROOT / file).exists():
            (published / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, published / file)
    git = ["git", "-C", str(published), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *words], check=True)
    (made.home / ".gitconfig").write_text(f'[url "{published}"]\n\tinsteadOf = {UPSTREAM}\n')

    clone, up, *_ = typed(ENGLISH)
    first = made.terminal([clone], made.home)
    assert first.wait(60) == 0, first.communicate()[0]
    share_what_is_installed(made.clone)
    terminal = made.terminal([up], made.clone)
    try:
        url = f"http://localhost:{made.port}/readyz"
        wait_for(lambda: httpx.get(url, trust_env=False, timeout=60).status_code == 200, READY_SECONDS)
        yield made
    finally:
        made.types("make down")
        print(terminal.communicate(timeout=30)[0])


def test_both_languages_have_the_same_commands() -> None:
    assert typed(ENGLISH) == typed(CHINESE)
    assert [*mentioned(CHINESE)] == [line for line in mentioned(ENGLISH) if line not in FOR_DEVELOPERS]


def test_every_line_works_as_it_is_typed(newcomer: Newcomer) -> None:
    (newcomer.clone / "photos").mkdir()
    for name in ("photo.jpg", "photos/one.jpg", "photos/two.jpg"):
        (newcomer.clone / name).write_bytes(photos.landscape())
    _, _, *lines = typed(ENGLISH)
    assert [line.split()[0] for line in lines[1:3]] == ["kinokit", "kinokit"]
    output = newcomer.types(*lines)
    assert '"status":"queued"' in output.replace(" ", "")
    for clip in ("clip.mp4", "clips/one.mp4", "clips/two.mp4"):
        with av.open(str(newcomer.clone / clip)) as video:
            assert video.streams.video[0].frames > 8


def test_every_command_between_backticks_works(newcomer: Newcomer) -> None:
    path = 'export PATH="$HOME/.local/bin:$PATH"'
    newcomer.types("make install")
    for line in mentioned(ENGLISH):
        if line.startswith("kinokit plan"):
            about = newcomer.types(path, f"{line} --gpu 24gib:8.9 --ram 64gib")  # as its other half says
            assert re.search(r"^download +35\.\d GiB", about, re.MULTILINE)
        elif line == FOLLOWS:
            assert "ready after" in newcomer.types(f"timeout 3 {line} || test $? = 124")
        elif line not in (*FOR_DEVELOPERS, "make down"):  # the fixture types this one
            newcomer.types(path, line)


def test_a_command_of_somebody_else_is_left_alone(newcomer: Newcomer, tmp_path: Path) -> None:
    foreign = tmp_path / ".local/bin/kinokit"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("not ours")
    output = Newcomer(tmp_path, newcomer.port).terminal(["make install"], newcomer.clone).communicate()[0]
    assert foreign.read_text() == "not ours"
    line = re.search(r"export PATH=\S+", output)
    assert line is not None
    assert "generate" in newcomer.types(line[0], "kinokit --help")
