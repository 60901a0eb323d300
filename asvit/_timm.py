"""Registers our networks with timm once both packages are imported, in either order.

timm has no entry points for other packages' models. Its import takes seconds, so ``import asvit``
must not import it; if timm is imported later, registration follows that import.
"""

import sys
from collections.abc import Sequence
from functools import partial
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
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(_then_register, spec.loader)  # type: ignore[method-assign]
        return spec


def _then_register(loader: Loader, module: ModuleType) -> None:
    """Load timm as the loader's class does, then register our networks."""
    del loader.exec_module
    loader.exec_module(module)
    _register()
