"""Versions of the libraries that the numbers of a result depend on."""

from __future__ import annotations

import platform
from importlib.metadata import version

from asvit._version import __version__


def versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on."""
    libraries = {name: version(name) for name in ("torch", "timm", "optuna")}
    return {"asvit": __version__, "python": platform.python_version(), **libraries}
