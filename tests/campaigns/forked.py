"""Runs commands and calls in processes forked from one that has imported everything.

Importing torch takes seconds, forking takes milliseconds, so hundreds of processes can be started
and killed. Processes share nothing but files.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

STDOUT, STDERR = "stdout.txt", "stderr.txt"
WORKERS = "workers.txt"
CACHE = "cache"

_ROOT = Path(__file__).parents[2]

#: Imported before the first fork; every process has to import all other modules itself.
PRELOADED = [
    "tests.campaigns.forked",
    "asvit.cli.app",
    "asvit.cli.run_command",
    "asvit.core.codec",
    "pydantic",
    "asvit.executors.processes",
    *(f"asvit.runs.{name}" for name in ("kinds", "search", "scaling", "correlation", "training")),
    *(f"asvit.runs.{name}" for name in ("checks", "measurement_pool", "measurement_worker")),
    "asvit.growth.result",
    "asvit.reference.query",
    *(f"asvit.search.{name}" for name in ("loop", "study", "paths")),
    *(f"asvit.training.{name}" for name in ("result", "short", "session", "timing")),
    "asvit.report",
    *(f"asvit.report.{name}" for name in ("correlate", "evolution", "scale", "search")),
    "asvit.report.training",
    *(f"asvit.runs.{name}" for name in ("evolution", "supernet")),
    "importlib.readers",  # for the page's template; another user may not read Python's library
    *(f"proxies.{name}" for name in ("az_nas", "expansion", "saliency", "synaptic")),
    "scaling.growth",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "rich.console",
    "rich.table",
    "torch._decomp.decompositions_for_jvp",
    "accelerate",
    "asvit.export.reload",
    *(f"asvit.predictor.{name}" for name in ("validation", "process")),
    "asvit.search.predictor_sampler",
]


_UNTIL_THE_END = ExitStack()


def start(function: Callable[..., object], *arguments: Any, **named: Any) -> ForkServerProcess:
    """Start a process that calls ``function``; all arguments must be picklable."""
    process = server().Process(target=function, args=arguments, kwargs=named)
    process.start()
    return process


def server() -> ForkServerContext:
    """Starts processes by forking; the first call starts what they are forked from.

    They have the environment of that moment.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # The server does not inherit our import path; threads do not survive a fork.
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with mock.patch.dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS="1"):
        multiprocessing.forkserver.ensure_running()
    return context


def run(
    function: Callable[..., object], *arguments: Any, seconds: float = 300.0, **named: Any
) -> int:
    """Call ``function`` in a new process, and wait for its exit code.

    Raises:
        TimeoutError: If it takes longer than ``seconds``; it is then killed.
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
    """Run ``asvit WORDS`` in ``folder`` like a shell; for use with :func:`start`.

    Output is appended to ``stdout.txt`` and ``stderr.txt`` in the folder; images are cached in its
    ``cache``.

    Args:
        words: Arguments of ``asvit``.
        folder: Working folder, created if missing.
        environment: Variables to set, or to remove if None.
        prepare: Called just before the command, to set limits or inject faults.
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


def fork_workers() -> None:
    """Fork the workers of this process's run, and list their ids in ``workers.txt``."""
    processes = import_module("asvit.executors.processes")
    vars(processes)["_context"] = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=_ForkedWorker)


class _ForkedWorker(multiprocessing.get_context("fork").Process):
    """A worker that is listed."""

    def start(self) -> None:
        """Fork it."""
        super().start()
        with Path(WORKERS).open("a", encoding="utf-8") as file:
            file.write(f"{self.pid}\n")


@contextmanager
def modules() -> Iterator[list[ForkServerProcess]]:
    """Fork what this process starts with ``python -m``, which would import torch first.

    They are forked from the server, and from this process if the server has started that.

    These are the processes that reload a copy or time a network, and the workers of runs. They
    have the path, environment and streams of new ones. Workers are listed as they start.
    """
    started: list[ForkServerProcess] = []

    def worker(*, target: Callable[..., object], args: Any, daemon: bool) -> ForkServerProcess:
        how = dict(os.environ), target, args
        started.append(server().Process(target=_with_environment, args=how, daemon=daemon))
        return started[-1]

    runs = SimpleNamespace(run=_run_module, DEVNULL=subprocess.DEVNULL)
    context = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=worker)
    if parent_process():
        context.Process = _ForkedWorker
    with ExitStack() as patches:
        for name in ("asvit.core.processes", "asvit.export.comparison"):
            patches.enter_context(mock.patch.object(import_module(name), "subprocess", runs))
        processes = import_module("asvit.executors.processes")
        patches.enter_context(mock.patch.object(processes, "_context", context))
        yield started


def fork_modules() -> None:
    """:func:`modules` until this process ends."""
    _UNTIL_THE_END.enter_context(modules())


def _run_module(
    words: Sequence[str], *, env: Mapping[str, str], input: str = "", **_how: object
) -> subprocess.CompletedProcess[str]:
    """Run ``python -P -m MODULE ARGUMENTS``, as :func:`subprocess.run` does."""
    with TemporaryDirectory() as folder:
        names = ("stdin", "stdout", "stderr")
        streams = [os.open(Path(folder, name), os.O_RDWR | os.O_CREAT) for name in names]
        Path(folder, "stdin").write_text(input)
        ends = [Connection(stream) for stream in streams]
        call = _fork if parent_process() else run
        code = call(_module, words[3:], str(Path.cwd()), env, ends)
        for end in ends:
            end.close()
        outputs = (Path(folder, name).read_text(errors="replace") for name in names[1:])
        return subprocess.CompletedProcess(words, code, *outputs)


def _fork(function: Callable[..., object], *arguments: Any) -> int:
    """Call ``function`` in a process forked from this one, and wait for its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        function(*arguments)
        code = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _with_environment(
    environment: Mapping[str, str], function: Callable[..., object], arguments: Sequence[Any]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)


def _module(
    words: Sequence[str], folder: str, environment: Mapping[str, str], ends: Sequence[Connection]
) -> None:
    """Become ``python -P -m MODULE ARGUMENTS`` in ``folder``, with these streams."""
    os.chdir(folder)
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    _run(words, environment)


def _run(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run ``python -P -m MODULE ARGUMENTS`` in this process, with the streams that it has."""
    os.setsid()
    sys.stdin = os.fdopen(0)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = environment["PYTHONPATH"].split(os.pathsep)
    sys.argv[1:] = words[1:]
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def workers(folder: Path) -> list[int]:
    """Process ids of workers of commands in ``folder`` that still run."""
    path = folder / WORKERS
    numbers = path.read_text(encoding="utf-8").split() if path.exists() else []
    return [int(number) for number in numbers if _is_running(Path("/proc") / number / "stat")]


def _is_running(state: Path) -> bool:
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def printed(folder: Path, name: str = STDERR) -> str:
    """The output of commands in ``folder`` so far."""
    path = folder / name
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def pair_environments() -> list[dict[str, str]]:
    """What a launcher sets for each of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]


@contextmanager
def pair(
    words: Sequence[str], folder: Path, *, second: Sequence[str] = ()
) -> Iterator[list[ForkServerProcess]]:
    """The two processes of a training in ``folder``, without a launcher that would end both.

    The second one has more words. What they say is in the folders ``0`` and ``1`` beside it.
    """
    both = []
    for rank, environment in enumerate(pair_environments()):
        own = folder.with_name(str(rank))
        (own / STDERR).unlink(missing_ok=True)
        line = [*words, "--out", str(folder), *(second if environment["RANK"] == "1" else ())]
        both.append(start(command, line, own, environment=environment))
    try:
        yield both
    finally:
        for one in both:
            one.kill()
            one.join()


def ended(both: Sequence[ForkServerProcess], folder: Path) -> list[tuple[int | None, str]]:
    """Exit code and messages of each process of a pair."""
    for one in both:
        one.join(600)
    told = [printed(folder.with_name(rank)) for rank in "01"]
    return [(one.exitcode, text) for one, text in zip(both, told, strict=True)]
