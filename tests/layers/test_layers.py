"""The import rules of docs/architecture.md, proved on every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("bootstrap/**/*.py"), *ROOT.glob("services/**/*.py")])

HEAVY = {"torch", "torchvision", "diffusers", "transformers", "accelerate", "safetensors", "triton", "cudnn"}
# Who may import them at all; everybody else starts a process that does.
WORKERS = ("services.engines", "services.worker.child")


def module_of(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, root: Path = ROOT) -> Iterator[tuple[str, int]]:
    """Every imported module with its line, those inside functions and for types too."""
    package = module_of(path, root).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{origin}.{alias.name}", node.lineno


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def broken(rule: str, who: str, *forbidden: str) -> list[str]:
    """Where a package imports what it must not."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {imported}: {rule}"
        for path in FILES
        if within(module_of(path), who)
        for imported, line in imports(path)
        if any(within(imported, package) for package in forbidden)
    ]


def test_there_are_files_to_prove_it_on() -> None:
    assert {module_of(path).split(".")[0] for path in FILES} == {"bootstrap", "services"}
    assert len(FILES) > 30


def test_the_reader_of_imports_sees_every_kind(tmp_path: Path) -> None:
    file = tmp_path / "services/engines/some.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import a.b\nfrom . import base\nfrom ..video import encode\ndef f():\n    from torch import nn\n"
    )
    found = {name for name, _ in imports(file, tmp_path)}
    assert found == {"a.b", "services.engines.base", "services.video.encode", "torch.nn"}


def test_bootstrap_knows_nothing_of_services() -> None:
    assert broken("bootstrap starts services as processes", "bootstrap", "services") == []


def test_engines_and_video_do_not_know_each_other() -> None:
    rule = "frames are handed over, nobody needs the other"
    assert broken(rule, "services.engines", "services.video") == []
    assert broken(rule, "services.video", "services.engines") == []


def test_only_engines_and_the_gpu_child_import_torch() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for path in FILES
        if not any(within(module_of(path), worker) for worker in WORKERS)
        for imported, line in imports(path)
        if imported.split(".")[0] in HEAVY
    ]
    assert found == []


def test_the_front_and_the_jobs_do_not_import_engines() -> None:
    rule = "the GPU child imports engines, in its own process"
    for who in ("services.front", "services.queue"):
        assert broken(rule, who, "services.engines") == []


def test_pages_stand_above_the_routes() -> None:
    rule = "app.assemble hands pages in"
    pages = ("services.front.pages", "services.front.studio")
    below = [each for each in FILES if within(module_of(each), "services.front")]
    below = [each for each in below if not any(within(module_of(each), page) for page in pages)]
    for who in {module_of(each) for each in below} - {"services.front", "services.front.app"}:
        assert broken(rule, who, *pages) == []


@pytest.mark.parametrize("module", ["bootstrap.cli", "services.parameters"])
def test_what_starts_first_loads_nothing_heavy(module: str) -> None:
    """What ast cannot see: a light module that pulls in a heavy one by way of a library."""
    heavy = sorted(HEAVY | {"gradio", "numpy", "av", "PIL"})
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
