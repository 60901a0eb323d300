"""Registers our networks with timm once both packages are imported, in either order.

timm has no entry points for other packages' models. Its import takes seconds, so ``import asvit``
must not import it; if timm is imported later, registration follows that import.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def register_with_timm() -> None:
    """Register our networks with timm now, or as soon as timm is imported."""
    if "timm" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _TimmFinder())


def _register() -> None:
    import_module("asvit.models")
    import_module("asvit._timm_entry")


class _TimmFinder(MetaPathFinder):
    """Finds timm through the other finders, and no other module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of timm with a loader that registers our networks; None for other modules.

        Requesting the spec, as libraries do to check whether timm is installed, imports nothing.
        """
        if fullname != "timm":
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _ThenRegister(spec.loader)
                return spec
        return None


class _ThenRegister(Loader):
    """Loads timm by ``loader``, then registers our networks."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module by the original loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module by the original loader, and leave that one in the module."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _register()
