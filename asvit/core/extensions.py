"""User modules that register measures, spaces or controllers."""

from __future__ import annotations

import os
from importlib import import_module

from proxies.messages import first_line, shown

#: Environment variable with their names, separated by commas; worker processes inherit it.
VARIABLE = "ASVIT_EXTENSIONS"

_started: set[str] = set()  # imports may be nested: an extension imports asvit, which calls us


def load_extensions() -> None:
    """Import the modules named in the environment, each once."""
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    new = [name for name in names if name and name not in _started]
    _started.update(new)
    for name in new:
        try:
            import_module(name)
        except Exception as error:  # user code may raise anything
            _started.difference_update(new)
            raise ValueError(
                f"{VARIABLE} names {shown(name)}, which cannot be imported: {first_line(error)}"
            ) from error
