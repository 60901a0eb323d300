"""Commands and calls in processes of their own, each forked from one that has imported everything.

Importing torch takes seconds, forking takes milliseconds. So hundreds of processes can be started
to be killed, starved or misled. Nothing of a process is left to the next one but its files.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock

STDOUT, STDERR = "stdout.txt", "stderr.txt"
CACHE = "cache"

_ROOT = Path(__file__).parents[1]

#: Imported before the first fork. What is missing here is imported by every process again.
_PRELOADED = (
    "experiments.forked",
    "asvit.cli.app",
    *(f"asvit.cli.{name}" for name in ("search", "scale", "correlate", "train", "supernet")),
    "asvit.cli.reference",
    "asvit.runs.search",
    "asvit.runs.scale",
    "asvit.runs.reference",
    "asvit.runs.correlation.run",
    "asvit.runs.correlation.reliability",
    "asvit.runs.supernets.run",
    "asvit.runs.supernets.evolution",
    "asvit.runs.training.run",
    "asvit.report",
    "asvit.report.correlate_run",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "accelerate",
)


def start(function: Callable[..., object], *arguments: Any, **named: Any) -> ForkServerProcess:
    """Call ``function`` in a process of its own.

    All must be picklable. The first call starts the server, with the environment of that time;
    later processes have that environment, too.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    # The server does not get our import path; and threads do not outlive a fork.
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with mock.patch.dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS="1"):
        multiprocessing.forkserver.ensure_running()
    process = context.Process(target=function, args=arguments, kwargs=named)
    process.start()
    return process


def run(
    function: Callable[..., object], *arguments: Any, seconds: float = 300.0, **named: Any
) -> int:
    """Call ``function`` in a process of its own, and wait for its exit code.

    Raises:
        TimeoutError: If it takes longer than ``seconds``. It is killed then.
    """
    process = start(function, *arguments, **named)
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"{function.__name__} was still running after {seconds} s")
    return process.exitcode


def command(
    words: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str | None] | None = None,
    prepare: Callable[[], object] | None = None,
) -> None:
    """Run ``asvit WORDS`` in ``folder``, as a shell would; to be started by :func:`start`.

    What it prints is added to ``stdout.txt`` and ``stderr.txt`` there. Images are kept in
    ``cache`` there.

    Args:
        words: The command line after ``asvit``.
        folder: Working folder; made if need be.
        environment: Changes of the environment: variable to value, None to remove it.
        prepare: Called right before, to set limits and traps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    os.environ["ASVIT_CACHE"] = str(folder / CACHE)
    for name, value in (environment or {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    for name, stream in ((STDOUT, sys.stdout), (STDERR, sys.stderr)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream.fileno())
        os.close(file)
    if prepare is not None:
        prepare()
    from asvit.cli.app import app

    app.main(list(words))


def printed(folder: Path, name: str = STDERR) -> str:
    """What commands in ``folder`` have printed so far."""
    path = folder / name
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
