"""Versions of the libraries that the numbers of a run depend on; errors for missing ones."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from asvit._version import __version__

# How many parts of a version have to agree: timm changes its networks in the third; of asvit, all.
_COMPARED = {"torch": 2, "timm": 3, "numpy": 2, "optuna": 2}


def versions() -> dict[str, str]:
    """Versions of the libraries that a run's numbers depend on."""
    libraries = {name: version(name) for name in _COMPARED}
    return {"asvit": __version__, "python": platform.python_version(), **libraries}


def missing(what: str, library: str, extra: str) -> ImportError:
    """The error where ``what`` needs a library of an extra; asvit itself is on no index."""
    return ImportError(
        f"{what} needs {library}: in the checkout of asvit, pip install '.[{extra}]'"
    )


def changed_versions(
    before: Mapping[str, str], now: Mapping[str, str], libraries: Sequence[str], word: str = "now"
) -> str:
    """Differences that may change numbers, as in ``torch 2.9.0 (now 2.15.0)``; empty if none."""
    return ", ".join(
        f"{name} {before[name]} ({word} {now[name]})"
        for name in libraries
        if _compared(name, before[name]) != _compared(name, now[name])
    )


def _compared(library: str, version: str) -> list[str]:
    return version.partition("+")[0].split(".")[: _COMPARED.get(library)]
