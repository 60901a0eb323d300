"""Modules of the user's own that register measures, spaces or controllers."""

from __future__ import annotations

import os
from importlib import import_module

from proxies.messages import first_line, shown

#: Environment variable with their names, separated by commas; processes that we start inherit it.
VARIABLE = "ASVIT_EXTENSIONS"

_begun: set[str] = set()  # while one is imported, what it imports of ours asks for all again


def load_extensions() -> None:
    """Import the modules that the environment names; one that is there already stays as it is.

    Raises:
        ValueError: If one cannot be imported; the message names it and says why.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    new = [name for name in names if name and name not in _begun]
    _begun.update(new)
    for name in new:
        try:
            import_module(name)
        except Exception as error:  # other people's code may raise anything
            _begun.difference_update(new)
            raise ValueError(
                f"{VARIABLE} names {shown(name)}, which cannot be imported: {first_line(error)}"
            ) from error
