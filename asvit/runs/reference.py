"""A table of reference accuracies from its settings to a run folder: started or continued."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit._files import write_text
from asvit._run_files import RESULT, TABLE, TRAININGS
from asvit.reference.build import Row, draw, rows_of, to_csv
from asvit.reference.journal import Journal, Outcome, Training
from asvit.reference.recipe import BuildSettings, make_settings
from asvit.reference.trainer import Trainer
from asvit.reference.workers import train_all
from asvit.runs.checks import find_space
from asvit.runs.folder import REFERENCE, check_folder, claimed, named_folder
from asvit.runs.provenance import versions
from asvit.runs.reference_result import BuildResult, command_of, provenance_of
from asvit.settings import check_same_device, check_same_images, check_same_settings
from proxies.evaluation import resolve_device

_MAY_GROW = ("n", "seeds")


@dataclass(frozen=True)
class TrainingEvent:
    """A training that has ended.

    Attributes:
        done: Trainings finished, of all sessions.
        total: Trainings of the table.
        fresh: Trainings finished in this session.
        seconds: Since the first of this session began.
        training: Which one it was.
        outcome: What it came to.
    """

    done: int
    total: int
    fresh: int
    seconds: float
    training: Training
    outcome: Outcome


def build_reference(
    *,
    out: Path | str | None = None,
    device: str = "auto",
    jobs: int = 1,
    progress: Callable[[TrainingEvent], None] | None = None,
    image_progress: Callable[[int, int], None] | None = None,
    fresh: bool = False,
    preset: str = "default",
    **settings: Any,
) -> BuildResult:
    """Train random architectures of a space and write their accuracies as a reference table.

    The run folder holds ``trainings.jsonl`` (every finished training), ``table.csv`` (the
    architectures whose trainings are all finished, as :func:`asvit.reference.load_reference`
    reads it) and ``result.json``. Stopped at any point, even by ``kill -9``, the run continues to
    the identical table, whatever the number of jobs; at most the trainings in flight are done
    again. More architectures or seeds than before extend a run; a finished one only gives its
    result.

    Args:
        out: Run folder; ``runs/reference-SPACE-SIZEpx-seedN`` by default.
        device: Where to train: ``"auto"``, ``"cpu"``, ``"cuda:0"``, ... or several of a kind, as
            ``"cuda:0,cuda:1"``. On ``cpu`` a training keeps to one thread.
        jobs: Processes that train at the same time, at least one for each device.
        progress: Called after each training.
        image_progress: Called as images are made or read, with how many are ready, and how many
            there will be.
        fresh: Start over: the folder's earlier run is removed, other files in it are not.
        preset: Name of a set of settings; see :data:`asvit.reference.recipe.PRESETS`.
        **settings: Fields of :class:`asvit.reference.recipe.BuildSettings`, on top of the
            preset's.

    Returns:
        The result, as in result.json.

    Raises:
        ValueError: If a setting is not allowed, the images do not suit, or the folder's run has
            other settings or is in use.
        OSError: If the folder cannot be written, images cannot be found, or a process died.
        TypeError: If there is no such setting.
    """
    wanted = make_settings(preset, **settings)
    architectures = draw(find_space(wanted.space, image_size=wanted.image_size), wanted)
    devices = find_devices(device, jobs)
    folder = default_folder(wanted) if out is None else Path(out)
    check_folder(folder, REFERENCE, fresh=fresh)
    trainer = None
    if fresh or not (folder / TRAININGS).exists():
        # May fail, so before anything is made or removed.
        trainer = Trainer(wanted, devices[0], progress=image_progress)
    with claimed(folder, REFERENCE, fresh=fresh):
        table = _Table(folder, architectures, wanted)
        if table.todo():
            trainer = trainer or Trainer(wanted, devices[0], progress=image_progress)
            kind = devices[0].partition(":")[0]
            check_same_device(folder, table.journal.device, kind)
            check_same_images(folder, table.journal.images, trainer.provenance)
            table.journal.start(wanted, trainer.provenance, trainer.num_classes, kind)
            _train(table, trainer, devices, progress)
        result = table.result(command_of(wanted, out))
        table.write()
        result.write(folder / RESULT)
    return result


def default_folder(settings: BuildSettings) -> Path:
    """Where a table with these settings is built unless another folder is named."""
    name = f"reference-{settings.space}-{settings.image_size}px-seed{settings.seed}"
    return named_folder(name)


def find_devices(names: str, jobs: int) -> tuple[str, ...]:
    """The device of each process.

    Raises:
        ValueError: If there is no such device, they are of several kinds, or ``jobs < 1``.
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs}; use at least 1")
    found = [str(resolve_device(name.strip())) for name in names.split(",")]
    kinds = sorted({name.partition(":")[0] for name in found})
    if len(kinds) > 1:
        raise ValueError(
            f"devices {names!r} are of {len(kinds)} kinds, {' and '.join(kinds)}, whose results "
            "differ in their last digits; use one kind"
        )
    return tuple(found[job % len(found)] for job in range(max(jobs, len(found))))


class _Table:
    """The table of a run folder: what has to be trained for it, and what was.

    Raises:
        ValueError: If the folder holds another kind of run, or this one with other settings.
    """

    def __init__(
        self, folder: Path, architectures: Sequence[str], settings: BuildSettings
    ) -> None:
        self.path = folder / TABLE
        self._architectures = architectures
        self.settings = settings
        self.journal = _open(folder, settings)

    @property
    def trainings(self) -> list[Training]:
        """All trainings, architecture by architecture: a part of them makes whole rows."""
        seeds = range(self.settings.seeds)
        return [Training(text, seed) for text in self._architectures for seed in seeds]

    def todo(self) -> list[Training]:
        """Those of them that are not finished."""
        return [one for one in self.trainings if one not in self.journal.outcomes]

    def write(self) -> None:
        """Write the rows whose trainings are all finished."""
        rows = self._rows()
        lines = provenance_of(rows, self.settings, self.journal)
        write_text(self.path, to_csv(rows, lines, seeds=self.settings.seeds))

    def result(self, command: str) -> BuildResult:
        """The result, when every training is finished."""
        outcomes = [(one, self.journal.outcomes[one]) for one in self.trainings]
        return BuildResult(
            folder=self.path.parent,
            table=self.path,
            rows=self._rows(),
            failures={
                f"{one.architecture}, seed {one.seed}": outcome.reason
                for one, outcome in outcomes
                if outcome.reason
            },
            num_classes=self.journal.num_classes,
            wall_seconds=self.journal.seconds,
            training_seconds=sum(round(outcome.seconds, 3) for _, outcome in outcomes),
            settings=self.settings,
            provenance={
                "images": self.journal.images,
                "device": self.journal.device,
                "versions": versions(),
                "command": command,
            },
            next_command=shlex.join(["asvit", "correlate", "--reference", str(self.path)]),
        )

    def _rows(self) -> list[Row]:
        journal = self.journal
        return rows_of(self._architectures, journal.outcomes, self.settings, journal.num_classes)


def _open(folder: Path, wanted: BuildSettings) -> Journal:
    """The journal of the run in ``folder``, if that is this run or none.

    Raises:
        ValueError: If the folder holds another kind of run, or this one with other settings.
    """
    journal = Journal(folder / TRAININGS)
    check_same_settings(folder, journal.settings, wanted, growing=_MAY_GROW)
    return journal


def _train(
    table: _Table,
    trainer: Trainer,
    devices: Sequence[str],
    progress: Callable[[TrainingEvent], None] | None,
) -> None:
    """Train what is not in the journal yet, and write the table anew after each training."""
    todo, total = table.todo(), len(table.trainings)
    before, began = total - len(todo), time.monotonic()
    with closing(_outcomes(todo, table.settings, trainer, devices)) as outcomes:
        for fresh, (training, outcome) in enumerate(outcomes, 1):
            table.journal.add(training, outcome)
            table.write()
            if progress is not None:
                seconds = time.monotonic() - began
                progress(TrainingEvent(before + fresh, total, fresh, seconds, training, outcome))


def _outcomes(
    todo: Sequence[Training], settings: BuildSettings, trainer: Trainer, devices: Sequence[str]
) -> Generator[tuple[Training, Outcome]]:
    if len(devices) > 1:
        yield from train_all(todo, settings, devices)
    else:
        for training in todo:
            yield training, trainer(training)
