"""The import rules of docs/architecture.md, proved on every file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.layers import imports
from tests.layers.imports import ROOT, Import, within

IMPORTS = imports.read()
MODULES = {each.who for each in IMPORTS}

# From the top to the ground; who stands higher may import who stands lower.
BOOTSTRAP = (
    "cli",
    "commands",
    "rent",
    "launch",
    "settings",
    "publication",
    "platforms",
    "fetch",
    "choose",
    "detect",
)
GROUND = (
    "certificates",
    "data_directory",
    "errors",
    "files",
    "logs",
    "pasted_secret",
    "terminal",
    "torch_build",
    "volume",
    "web_address",
    "yaml_errors",
)

# What each package of services may import of the others. The front and the workers are different processes,
# on different machines if need be; families of engines know nothing of each other.
SERVICES: dict[str, set[str]] = {
    "cli": set(),  # it names the commands; they are imported by name
    "client": set(),  # anybody's program may take it along
    "commands": {"client", "keys", "parameters", "video", "worker"},
    "front": {"keys", "parameters", "queue", "video"},
    "keys": set(),
    "serverless": set(),
    "worker": {"engines", "parameters", "video"},
    "queue": set(),
    "engines": {"parameters"},  # the typed values of a request
    "parameters": {"video"},  # how a photo's file is opened
    "video": set(),
}

# The messages between the front and the workers: all that the two share.
PROTOCOL = "services.worker.protocol"
PROCESSES = ("services.front", "services.queue", "services.worker", "services.engines")

# All that services may import of bootstrap. The command line stands above both.
CONTRACT = (
    "bootstrap.errors",
    "bootstrap.terminal",
    "bootstrap.files",
    "bootstrap.logs",
    "bootstrap.data_directory",
    "bootstrap.choose.plan",
    "bootstrap.choose.family",
    "bootstrap.launch.arrivals",
    "bootstrap.launch.die_with_parent",
    "bootstrap.launch.exit_reason",
    "bootstrap.launch.listener",
)
ABOVE_BOTH = ("services.cli", "services.commands")

HEAVY = {"torch", "torchvision", "diffusers", "transformers", "accelerate", "safetensors", "triton", "cudnn"}
# Who may import them at all; everybody else starts a process that does.
WITH_TORCH = ("services.engines",)


def shown(wrong: list[Import]) -> list[str]:
    return [str(each) for each in wrong]


def test_there_are_files_to_prove_it_on() -> None:
    assert {module.split(".")[0] for module in MODULES} == {"bootstrap", "services"}
    assert len(MODULES) > 200


def test_the_reader_of_imports_sees_every_kind(tmp_path: Path) -> None:
    folder = tmp_path / "services/engines"
    folder.mkdir(parents=True)
    (tmp_path / "services/video.py").write_text("")
    (folder / "base.py").write_text("")
    (folder / "some.py").write_text(
        "import a.b\nfrom . import base\nfrom ..video import encode\ndef f():\n    from torch import nn\n"
    )
    found = {each.what for each in imports.read(tmp_path)}
    assert found == {"a.b", "services.engines.base", "services.video", "torch.nn"}


def test_the_search_for_cycles_finds_one() -> None:
    known = [Import("a", "b", ""), Import("b", "c", ""), Import("c", "a", ""), Import("d", "a", "")]
    assert imports.cycles(known) == [["a", "b", "c"]]
    assert imports.cycles(known[1:]) == []


def test_nobody_imports_in_a_circle() -> None:
    assert imports.cycles(IMPORTS) == []


def test_bootstrap_knows_nothing_of_services() -> None:
    assert shown([each for each in IMPORTS if is_of(each, "bootstrap", "services")]) == []


def test_every_part_of_bootstrap_has_its_place() -> None:
    parts = {part(module) for module in MODULES if within(module, "bootstrap")} - {""}
    assert parts <= set(BOOTSTRAP) | set(GROUND)


def test_bootstraps_folders_import_downwards() -> None:
    assert (
        shown([each for each in IMPORTS if is_of(each, "bootstrap", "bootstrap") and not is_downwards(each)])
        == []
    )


def test_every_package_of_services_has_its_place() -> None:
    assert {part(module) for module in MODULES if within(module, "services")} - {""} == set(SERVICES)


def test_packages_of_services_import_only_what_they_are_given() -> None:
    wrong = [
        each
        for each in IMPORTS
        if is_of(each, "services", "services")
        and part(each.what) != part(each.who)
        and part(each.what) not in SERVICES[part(each.who)]
        and not (within(each.who, "services.front") and each.what == PROTOCOL)
    ]
    assert shown(wrong) == []


def test_the_protocol_of_front_and_workers_needs_neither() -> None:
    wrong = [each for each in IMPORTS if each.who == PROTOCOL and is_of(each, PROTOCOL, *PROCESSES)]
    assert shown(wrong) == []


def test_families_of_engines_do_not_know_each_other() -> None:
    families = {path.stem for path in ROOT.glob("model-manifests/families/*.yaml")}
    assert {"svd", "wan"} <= families
    wrong = [
        each
        for each in IMPORTS
        for family in families
        for other in families - {family}
        if is_of(each, f"services.engines.{family}", f"services.engines.{other}")
    ]
    assert shown(wrong) == []


def test_what_engines_share_knows_no_family() -> None:
    families = [f"services.engines.{path.stem}" for path in ROOT.glob("model-manifests/families/*.yaml")]
    wrong = [
        each
        for each in IMPORTS
        if within(each.who, "services.engines")
        and not within(each.who, *families)
        and within(each.what, *families)
    ]
    assert shown(wrong) == []


def test_services_import_only_the_contract_of_bootstrap() -> None:
    wrong = [
        each
        for each in IMPORTS
        if is_of(each, "services", "bootstrap")
        and not within(each.who, *ABOVE_BOTH)
        and not within(each.what, *CONTRACT)
    ]
    assert shown(wrong) == []


def test_only_engines_import_torch() -> None:
    wrong = [
        each for each in IMPORTS if each.what.split(".")[0] in HEAVY and not within(each.who, *WITH_TORCH)
    ]
    assert shown(wrong) == []


def test_pages_stand_above_the_routes() -> None:
    """``app.assemble`` hands pages in."""
    pages = ("services.front.pages", "services.front.studio")
    wrong = [
        each
        for each in IMPORTS
        if is_of(each, "services.front", *pages) and not within(each.who, "services.front.app", *pages)
    ]
    assert shown(wrong) == []


def test_what_all_doors_share_knows_no_door() -> None:
    """``services.front.creation.create`` makes jobs for every dialect."""
    doors = ("services.front.openai",)
    wrong = [
        each
        for each in IMPORTS
        if is_of(each, "services.front", *doors) and not within(each.who, "services.front.app", *doors)
    ]
    assert shown(wrong) == []


@pytest.mark.parametrize("module", ["bootstrap.cli", "services.parameters"])
def test_what_starts_first_loads_nothing_heavy(module: str) -> None:
    """What ast cannot see: a light module that pulls in a heavy one by way of a library."""
    heavy = sorted(HEAVY | {"gradio", "numpy", "av", "PIL"})
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def part(module: str) -> str:
    """The folder or file below bootstrap or services: "fetch" of bootstrap.fetch.hub."""
    return module.split(".")[1] if "." in module else ""


def is_of(each: Import, who: str, *what: str) -> bool:
    return within(each.who, who) and within(each.what, *what)


def is_downwards(each: Import) -> bool:
    """Within a folder, or to one that stands lower. ``bootstrap`` itself holds the version: the ground."""
    who, what = part(each.who), part(each.what)
    if who == what or what == "":
        return True
    if what in GROUND:
        return True
    return who in BOOTSTRAP and BOOTSTRAP.index(who) < BOOTSTRAP.index(what)
