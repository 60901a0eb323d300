"""New Python processes of ours."""

import os
import sys
from pathlib import Path


def module_process(module: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a new process that runs a module, as ``python -m`` does.

    It imports from the folders that this process imports from, and no others: ``python -m`` would
    look into the working directory first, where a file may have the name of a library.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_folders())}
    return [sys.executable, "-P", "-m", module], environment


def imports_here() -> bool:
    """Whether this process imports from its working directory."""
    return str(Path.cwd()) in _folders()


def _folders() -> list[str]:
    return [str(Path(folder).absolute()) for folder in sys.path if isinstance(folder, str)]
