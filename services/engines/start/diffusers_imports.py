"""diffusers' classes one by one: its packages import every model they know, seconds of each start."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

PACKAGES = tuple(f"diffusers.models.{name}" for name in ("transformers", "unets", "autoencoders"))


class _Package(ModuleType):
    """Its modules can be imported at once; whoever asks it for a name makes it run its own ``__init__``."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]  # once, also for those who ask while it runs
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def imports() -> None:
    """From now on a module like ``diffusers.models.transformers.transformer_wan`` brings no other model."""
    for name in PACKAGES:
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            continue  # another diffusers: its own way will do
        package = _Package(name)
        package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations)
        package.__package__ = name
        sys.modules[name] = package
        parent, _, leaf = name.rpartition(".")
        setattr(sys.modules[parent], leaf, package)
