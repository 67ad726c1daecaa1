"""Who imports whom, read from the files themselves: imports inside functions and for types count, too."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("bootstrap", "services")


@dataclass(frozen=True)
class Import:
    """``who`` imports ``what``: a module of ours, or ``package.name`` as it is written."""

    who: str
    what: str
    place: str  # file:line

    def __str__(self) -> str:
        return f"{self.place} imports {self.what}"


def files(root: Path = ROOT) -> list[Path]:
    return sorted(path for package in PACKAGES for path in root.glob(f"{package}/**/*.py"))


def module_of(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def names(path: Path, root: Path = ROOT) -> Iterator[tuple[str, int]]:
    """Every imported name with its line: ``a.b`` for ``import a.b`` and for ``from a import b``."""
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


def read(root: Path = ROOT) -> list[Import]:
    """All imports of our packages. What names one of our modules, or something in it, becomes that module."""
    paths = {module_of(path, root): path for path in files(root)}
    return [
        Import(who, _module(name, paths), f"{path.relative_to(root)}:{line}")
        for who, path in paths.items()
        for name, line in names(path, root)
    ]


def _module(name: str, known: Mapping[str, Path]) -> str:
    """``bootstrap.errors.KitError`` is bootstrap.errors; what is not ours stays as it is written."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in known:
            return ".".join(parts[:length])
    return name


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def cycles(imports: list[Import]) -> list[list[str]]:
    """Groups of modules that need each other, by Tarjan's strongly connected components."""
    edges: dict[str, set[str]] = defaultdict(set)
    for each in imports:
        edges[each.who].add(each.what)
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = lowest[module] = len(index)
        stack.append(module)
        for other in sorted(edges.get(module, ())):
            if other not in index:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], index[other])
        if lowest[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1 or module in edges.get(module, ()):
                found.append(sorted(group))

    for module in sorted(edges):
        if module not in index:
            visit(module)
    return found
