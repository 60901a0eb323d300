"""What is kept with a result so that it can be had again: versions, and the command."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version

from asvit._version import __version__
from asvit.settings import Settings, field_names


def versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on."""
    libraries = {name: version(name) for name in ("torch", "timm", "optuna")}
    return {"asvit": __version__, "python": platform.python_version(), **libraries}


def changed_options(
    settings: Settings, default: Settings, *, spelled: Mapping[str, str] | None = None
) -> list[str]:
    """The words of a command line for the settings that differ from ``default``.

    Args:
        settings: The settings.
        default: Those of a command without options.
        spelled: Setting to the name of its option, where it is not its own; an option that
            holds several values is given once for each.
    """
    words = []
    for name in field_names(settings):
        value = getattr(settings, name)
        if value == getattr(default, name):
            continue
        option = f"--{(spelled or {}).get(name, name).replace('_', '-')}"
        for one in value if isinstance(value, tuple) else (value,):
            words += [option, str(one)]
    return words
