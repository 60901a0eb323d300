"""New Python processes of ours; as a module that is run, the other end of :func:`call`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from asvit.core.codec import to_json
from asvit.core.extensions import load_extensions
from proxies.text import one_line


def module_process(module: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a new process that runs a module, as ``python -m`` does.

    It imports from the folders that this process imports from, and no others: ``python -m`` would
    look into the working directory first, where a file may have the name of a library.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_folders())}
    return [sys.executable, "-P", "-m", module], environment


def call(function: str, *, environment: dict[str, str], **arguments: Any) -> Any:
    """Call a function, ``"module:name"``, in a new process, where the extensions are loaded, too.

    Its arguments and its result are of the types of JSON; ``environment`` adds to this process's.
    Its error becomes a ChildProcessError with the last line that it wrote.
    """
    words, variables = module_process("asvit.core.processes")
    ended = subprocess.run(
        [*words, function],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        errors="replace",  # of libraries in C, which may write anything
        check=False,
        env=variables | environment,
    )
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        raise ChildProcessError(one_line(lines[-1]))
    return json.loads(ended.stdout.splitlines()[-1])


def imports_here() -> bool:
    """Whether this process imports from its working directory."""
    return str(Path.cwd()) in _folders()


def _folders() -> list[str]:
    return [str(Path(folder).absolute()) for folder in sys.path if isinstance(folder, str)]


if __name__ == "__main__":
    load_extensions()
    print(json.dumps(to_json(resolve_name(sys.argv[1])(**json.load(sys.stdin)))))  # noqa: T201
