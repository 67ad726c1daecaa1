"""The guides for renters: each command in them is run, against marketplaces of our own and a real front."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bootstrap.choose import reading
from bootstrap.cli import app
from services.front.settings import Settings
from tests.bootstrap.rent import kit, marketplaces, test_orders
from tests.bootstrap.rent.marketplaces import World
from tests.services.front.running import WAN, Front, running

pytestmark = pytest.mark.apart
DOCS = Path(__file__).parents[3] / "docs"
GUIDES = [f"{folder}{name}.md" for folder in ("", "zh/") for name in ("renting", "vast", "runpod", "clore")]
BOXES = {"BOX", "ORDER", "订单号"}  # what a reader replaces
KEYS = ("VAST_API_KEY", "RUNPOD_API_KEY", "CLORE_API_KEY")


def commands(guide: str) -> list[list[str]]:
    """Indented lines and what stands between backticks, in the order of the page."""
    text = (DOCS / guide).read_text(encoding="utf-8")
    found = re.findall(r"^ {4,}(kinokit [^#\n]+)|`(kinokit [^`]+)`", text, re.MULTILINE)
    words = [shlex.split(line or quoted) for line, quoted in found]
    return [each[1:] for each in words if len(each) > 2]  # a command alone is a name


@pytest.fixture
def world() -> Iterator[World]:
    with marketplaces.serve() as running:
        yield running


def account(world: World) -> dict[str, str]:
    keys = dict.fromkeys(KEYS, world.key) | {f"{name}_ADDRESS": world.url for name in KEYS}
    return kit.env(world) | keys


@dataclass
class Renter:
    """A person with a key for each marketplace, and the box that was rented last."""

    world: World
    state: Path
    front: Front

    def types(self, words: list[str]) -> None:
        """A line of a guide, whose BOX is the last one; one is rented where none is."""
        platform = words[words.index("--platform") + 1] if "--platform" in words else "vast"
        if not BOXES.isdisjoint(words):
            box = self._box() or self._rented(platform)
            words = [box if word in BOXES else word for word in words]
        if words[:2] == ["rent", "start"] and platform != "vast":
            # The others' boxes have addresses of the marketplace's own domain, which lead nowhere here.
            assert "nothing was rented" in self._said(words, "n\n", code=1)
        elif words[:2] == ["rent", "pull"]:
            self._pulls(words)
        else:
            self._said(words, "y\n" * 5)

    def _said(self, words: list[str], answers: str, *, code: int = 0) -> str:
        result = CliRunner().invoke(app, words, env=account(self.world), input=answers)
        said = f"{result.output}{result.exception or ''}"
        assert result.exit_code == code, (words, said)
        return said

    def _pulls(self, words: list[str]) -> None:
        """From the real front, which stands where the box does meanwhile."""
        row = kit.ledger(self.state)[-1]
        (self.front.data_dir / "token").write_text(row["token"])
        port = self.world.rented[row["id"]]["ports"]["8000/tcp"][0]
        port["HostPort"] = self.front.url.rsplit(":", 1)[1]
        self._said([word for word in words if word != "--follow"], "")  # until Ctrl-C: test_pull has it
        port["HostPort"] = str(self.world.port)

    def _box(self) -> str:
        """Its id; empty where none is rented."""
        rows = kit.ledger(self.state) if (self.state / "rentals.json").exists() else []
        return str(rows[-1]["id"]) if rows and rows[-1]["state"] != "ended" else ""

    def _rented(self, platform: str) -> str:
        if platform != "vast":
            return test_orders.rent(self.world, platform)[1].id
        self._said(["rent", "start"], "y\n" * 5)
        return self._box()


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_works_in_the_order_of_the_page(
    guide: str, world: World, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(reading.shipped()["wan22-5b"].read_text())
    found = commands(guide)
    assert found
    (tmp_path / "box").mkdir()
    (tmp_path / "box/token").write_text("of no box yet\n")
    with running(Settings(tmp_path / "box")) as front:
        front.plan(WAN)
        renter = Renter(world, state, front)
        for words in found:
            renter.types(words)
