"""Our networks in timm's registry once both packages are imported, in whichever order.

timm has no way to announce models of other packages, and it takes seconds to import, so
``import asvit`` must not import it. Where timm is still to come, registration follows its import.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def register_with_timm() -> None:
    """Register our networks with timm if it is imported, or else as soon as it is."""
    if "timm" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _TimmFinder())


def _register() -> None:
    import_module("asvit.models")
    import_module("asvit._timm_entry")


class _TimmFinder(MetaPathFinder):
    """Finds timm where the other finders do, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of timm with a loader that registers our networks; None for other modules.

        Asking for it, as libraries do to see whether timm is installed, imports nothing.
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
    """Has ``loader`` load timm, then registers our networks."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As ``loader`` does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As ``loader`` does, which then stands in the module as if we were not there."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _register()
