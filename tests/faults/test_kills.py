"""Runs that are stopped anywhere, however often, end as runs that were never stopped."""

import itertools
import os
import random
import shutil
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import marked

from asvit.search import CONTROLLERS
from tests.campaigns import forked
from tests.campaigns.kill_runs import (
    COMMANDS,
    DESIGN,
    NEEDS,
    RUN,
    Campaign,
    differences,
    outcome,
    words,
)
from tests.faults.conftest import SEED
from tests.traps import Stop, prepare

KILLS = int(os.environ.get("ASVIT_KILLS", "3"))  # of each command, at random
KILL, INTERRUPT = signal.SIGKILL, signal.SIGINT

#: Command -> point, see :func:`tests.traps.stop_at` -> the how-manieth times that are killed.
KILLED: Mapping[str, Mapping[str, Sequence[int]]] = {
    # Two fsyncs make a trial, asked for and told; those before are of the study.
    "search": {
        "fsync": (1, 3, 12), "measure": (1, 14), "unlink": (12,), "trials.csv": (2,),
        "result.json": (1,), "report.html": (1,),
    },
    "scale": {
        "fsync": (1, 2, 9), "measure": (3,), "steps.csv": (2,), "candidates.csv": (1,),
        "result.json": (1,), "report.html": (1,),
    },
    "correlate": {
        "fsync": (1, 5), "measure": (4,), "values.csv": (1,), "correlations.csv": (1,),
        "result.json": (1,),
    },
    "train": {
        "fsync": (1, 12), "step": (1, 12), "checkpoint.safetensors": (1, 3),
        "best.safetensors": (1,), "model.safetensors": (1,), "metrics.csv": (3,),
        "result.json": (1,),
    },
    "supernet train": {
        "fsync": (1, 4, 9), "step": (1, 12), "supernet.safetensors": (3,),
        "metrics.csv": (2,), "result.json": (1,),
    },
    "supernet evolve": {
        "fsync": (1, 9, 17), "trials.csv": (1,), "inherited.safetensors": (1,),
        "result.json": (1,), "report.html": (1,),
    },
}  # fmt: skip

INTERRUPTED: Mapping[str, Mapping[str, Sequence[int]]] = {
    "search": {"measure": (4,), "fsync": (2, 11, 12), "unlink": (9,), "trials.csv": (2,)},
    "scale": {"measure": (2,), "fsync": (6,), "steps.csv": (2,)},
    "correlate": {"measure": (4,), "correlations.csv": (1,)},
    "train": {"step": (7,)},
    "supernet train": {"step": (6,)},
    "supernet evolve": {"fsync": (8,)},
}

#: What else is killed once: other controllers and spaces, batches, trainings that fail.
OTHERS: Sequence[tuple[str, str, Stop]] = [
    *(
        ("search", f"--controller {name} --steps 20", ("measure", 15, KILL))
        for name in CONTROLLERS
        if name != "predictor"
    ),
    *(
        ("search, trainings", "", (point, count, KILL))
        for point, count in (("step", 7), ("fsync", 23), ("trainings.csv", 1), ("result.json", 1))
    ),
    *(
        ("search", f"--space {name} --image-size 64", ("fsync", 9, KILL))
        for name in ("shiftvit", "psvit2d")
    ),
    ("search", "--batch 5", ("measure", 7, KILL)),
    ("scale", "--arch shift:1,1,2,1|2|12|1|48 --budget 9M", ("measure", 3, KILL)),
    ("scale", "--arch psvit2d:bs----|s-----|b----- --budget 9M", ("measure", 3, KILL)),
    ("search, trainings", "--controller random --seeds 2", ("fsync", 9, KILL)),
    # A checkpoint after every update.
    *(
        ("train", "--checkpoint-minutes 1e-9", (point, count, KILL))
        for point, count in (
            *(("step", 3), ("step", 8), ("fsync", 13), ("checkpoint.safetensors", 5)),
            *(("metrics.csv", 2), ("best.safetensors", 1)),
        )
    ),
    *(("train", "", ("step", 3, number)) for number in (signal.SIGTERM, signal.SIGHUP)),
]
CASES: Sequence[tuple[str, str, Stop]] = [
    *((name, "", (point, count, number))
      for table, number in ((KILLED, KILL), (INTERRUPTED, INTERRUPT))
      for name, points in table.items() for point, counts in points.items() for count in counts),
    *OTHERS,
]  # fmt: skip


def chosen(cases: Sequence[tuple[str, str, Stop]]) -> list[object]:
    """All cases, of which every run has a kill of each command and two more, and the night all."""
    rng = random.Random(SEED)
    of = {name: [case for case in cases if case[0] == name and not case[1]] for name in COMMANDS}
    always = [rng.choice(own) for own in of.values() if own]
    always += [rng.choice([case for case in cases if case[0] == "train" and case[1]])]
    always += [rng.choice([case for case in of["search"] if case[2][2] == INTERRUPT])]
    return [
        pytest.param(*case, marks=[pytest.mark.nightly] * (case not in always)) for case in cases
    ]


#: Command -> where it is killed again and again, and how often until it has ended.
REPEATED: Mapping[str, tuple[str, int, int]] = {
    "search": ("measure", 6, 3),
    "scale": ("measure", 3, 1),
    "correlate": ("measure", 3, 2),
    "train": ("checkpoint.safetensors", 3, 1),  # going on puts the one before in its place
    "supernet train": ("step", 5, 2),
}

SHORTER = {"train": "--epochs 3 --retokenize 1/1/1"}


class Runs:
    """Runs of commands with more options, and what they leave that are never stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._whole: dict[tuple[str, str], Path] = {}

    def call(self, name: str, more: str, folder: Path, **how: Any) -> int:
        """Start or go on with a run in ``folder``; its exit code."""
        if name in NEEDS and not folder.exists():
            target, needed = NEEDS[name]
            shutil.copytree(self.whole(needed) / RUN, folder / target)
        command = [*words(name), *SHORTER.get(name, "").split(), *more.split()]
        # The costs of paths are added up, which those of fakes do not bear.
        prepared = partial(prepare, fakes=name not in NEEDS, **how)
        return forked.run(forked.command, command, folder, prepare=prepared)

    def whole(self, name: str, more: str = "") -> Path:
        """The working folder of a run that is never stopped."""
        if (name, more) not in self._whole:
            folder = self._folder / f"{next(self._numbers)}"
            assert self.call(name, more, folder) == 0, forked.printed(folder)
            self._whole[name, more] = folder
        return self._whole[name, more]

    def differing(self, name: str, more: str, folder: Path) -> list[str]:
        """The files in which a run differs from one that is never stopped."""
        return differences(outcome(folder / RUN), outcome(self.whole(name, more) / RUN))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(
    ("name", "more", "stop"),
    chosen(CASES),
    ids=lambda part: part if isinstance(part, str) else "-".join(map(str, part)),
)
def test_stopped_once_and_continued(
    runs: Runs, tmp_path: Path, name: str, more: str, stop: Stop
) -> None:
    folder = tmp_path / "cut"
    code = runs.call(name, more, folder, stop=stop)
    assert code == (130 if stop[2] == INTERRUPT else -stop[2])
    if stop[2] == INTERRUPT:
        assert f"; to go on: asvit {name} " in forked.printed(folder)
        assert "Traceback" not in forked.printed(folder)
    assert runs.call(name, more, folder) == 0
    assert runs.differing(name, more, folder) == []


@pytest.mark.parametrize("name", REPEATED)
def test_kills_cost_no_more_than_what_was_in_flight(runs: Runs, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "cut"
    point, count, kills = REPEATED[name]
    stop = (point, count, KILL)
    codes = [runs.call(name, "", folder, stop=stop) for _ in range(kills + 1)]
    assert codes == [-KILL] * kills + [0]
    assert runs.differing(name, "", folder) == []


@pytest.mark.parametrize("name", marked([*COMMANDS, DESIGN]))
def test_kills_at_random_change_nothing(campaign: Campaign, name: str) -> None:
    campaign.kill(name, KILLS)
