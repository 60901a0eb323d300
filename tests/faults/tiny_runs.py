"""What tests of faults share: which runs to take, and how to get at them."""

import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns import forked
from tests.campaigns.kill_runs import COMMANDS, RUN, Campaign, words

LONG = 300.0  # seconds; no run takes that long

#: Files that a run folder has from its claim on.
OWN = (".kind", ".lock")

#: Commands that take half a second each, and all that measure in one process.
QUICK = ("train", "supernet train")
ALONE = [name for name, line in COMMANDS.items() if "--jobs" not in line]


def marked(names: list[str]) -> list[object]:
    """The names, those that take seconds as slow ones."""
    slow = pytest.mark.slow
    return [name if name in QUICK else pytest.param(name, marks=slow) for name in names]


def begun(name: str, folder: Path) -> ForkServerProcess:
    """A run of the command ``name`` in ``folder`` that has written something."""
    process = forked.start(forked.command, words(name), folder)
    run, deadline = folder / RUN, time.monotonic() + LONG
    while not (run.exists() and any(path.name not in OWN for path in run.iterdir())):
        assert process.is_alive(), forked.printed(folder)
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return process


def told(folder: Path) -> str:
    """The last line that was said in ``folder``."""
    return forked.printed(folder).splitlines()[-1]


def kept(folder: Path) -> dict[str, bytes]:
    """All files of the run in ``folder``, but those of its claim."""
    return {p.name: p.read_bytes() for p in (folder / RUN).iterdir() if p.name not in OWN}


def fails(command: Sequence[str], folder: Path, *texts: str, **how: Any) -> None:
    """Run ``asvit`` in ``folder``, where it must fail with a last line that has these texts."""
    assert forked.run(forked.command, command, folder, **how) == 3
    assert [text for text in texts if text not in told(folder)] == []


def left_alone(command: Sequence[str], folder: Path, *texts: str) -> None:
    """:func:`fails`, with all files of the run kept."""
    before = kept(folder)
    fails(command, folder, *texts)
    assert kept(folder) == before


def goes_on(campaign: Campaign, name: str, folder: Path, what: str = "") -> None:
    """Finish a run, which must equal one that nothing has befallen."""
    campaign.finish(name, folder)
    campaign.check_same(name, folder, what=what)
