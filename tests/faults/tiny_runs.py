"""What tests of faults share: which runs to take, and how to get at them."""

import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from experiments import forked
from experiments.kill_runs import COMMANDS, RUN, words

LONG = 300.0  # seconds; no run takes that long

#: Commands that take half a second each, and all that measure in one process.
QUICK = ("reference build", "train", "supernet train")
ALONE = [name for name, line in COMMANDS.items() if "--jobs" not in line]


def marked(names: list[str]) -> list[object]:
    """The names, those that take seconds as slow ones."""
    slow = pytest.mark.slow
    return [name if name in QUICK else pytest.param(name, marks=slow) for name in names]


def begun(name: str, folder: Path) -> ForkServerProcess:
    """A run of the command ``name`` in ``folder`` that has written something."""
    process = forked.start(forked.command, words(name), folder)
    run, deadline = folder / RUN, time.monotonic() + LONG
    while not (run.exists() and any(path.name != ".lock" for path in run.iterdir())):
        assert process.is_alive(), forked.printed(folder)
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return process


def told(folder: Path) -> str:
    """The last line that was said in ``folder``."""
    return forked.printed(folder).splitlines()[-1]
