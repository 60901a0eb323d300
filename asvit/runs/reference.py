"""Building a table of reference accuracies."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock, percent
from asvit.core.files import write_text
from asvit.core.progress import Progress, Tell, images_told
from asvit.core.run_files import REFERENCE_FIGURES, TABLE, TRAININGS
from asvit.core.settings import setting
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.core.versions import versions
from asvit.reference.build_result import BuildResult, BuiltRow
from asvit.reference.build_settings import BuildSettings
from asvit.runs.folder import RunFiles
from asvit.runs.run import Run, imported

if TYPE_CHECKING:
    from asvit.reference.build import Outcome, Training, TrainingJournal
    from asvit.reference.trainer import Trainer

_BEST = 10  # architectures of a summary


@dataclass(kw_only=True)
class BuildRun(Run[BuildSettings, BuildResult, "TrainingJournal"]):
    """Train random architectures of a space from scratch, all by one recipe.

    Given again, the same command continues a run that was stopped, or shows the result of a
    finished one; more architectures or seeds extend it. asvit correlate --reference takes the
    table.
    """

    command = "reference build"
    files = RunFiles(
        "reference", "reference table", TRAININGS, (TABLE,), figures=REFERENCE_FIGURES
    )
    journal_type = imported("asvit.reference.build:TrainingJournal")
    pictures = imported("asvit.report.reference:pictures")  # imports matplotlib
    written = "report.html, table.csv, result.json"
    may_grow = ("n", "seeds")

    device: str = setting(
        "auto",
        "auto, cpu, cuda, ... or several of a kind: cuda:0,cuda:1.",
        metavar="DEVICE",
        repeats=False,
    )
    jobs: int = setting(
        1,
        "Processes that train at the same time; the table is the same.",
        at_least=1,
        repeats=False,
    )

    def default_name(self) -> str:
        """Named after the space, the image size and the seed."""
        s = self.settings
        return f"reference-{s.space}-{s.image_size}px-seed{s.seed}"

    @property
    def title(self) -> str:
        """What is about to be trained, and how."""
        s = self.settings
        return (
            f"training {s.n} architectures of {s.space}, {s.seeds} seed(s) each: {s.steps} steps "
            f"of {s.batch_size} images, {s.images}, {s.image_size} px, C={s.width}, seed {s.seed}"
        )

    @cached_property
    def architectures(self) -> tuple[str, ...]:
        """Texts of the architectures of the table."""
        from asvit.reference.build import draw
        from asvit.runs.checks import find_space

        chosen = self.settings
        return draw(find_space(chosen.space, image_size=chosen.image_size), chosen)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The device of each process."""
        return find_devices(self.device, self.jobs)

    @cached_property
    def trainer(self) -> Trainer:
        """Trains on the first device."""
        from asvit.reference import trainer

        progress = images_told(self.progress)
        return trainer.Trainer(self.settings, self.devices[0], progress=progress)

    def check(self) -> None:
        """Draw the architectures, and find the devices."""
        _ = self.architectures, self.devices

    def load(self) -> Mapping[str, Any]:
        """Images, their classes and the kind of device."""
        trained, kind = self.trainer, self.devices[0].partition(":")[0]
        return {"images": trained.provenance, "num_classes": trained.num_classes, "device": kind}

    def execute(self, store: TrainingJournal, tell: Tell) -> BuildResult:
        """Train what the journal does not have, and write the table after each training."""
        trainings, todo = self._trainings(), self._missing(store)
        before, began = len(trainings) - len(todo), time.monotonic()
        with closing(self._outcomes(todo)) as outcomes:
            for done, (training, outcome) in enumerate(outcomes, before + 1):
                store.add(training, outcome)
                self._write_table(store)
                told = outcome.reason or percent(outcome.accuracy)
                tell(
                    Progress(
                        "training",
                        done,
                        len(trainings),
                        resumed=before,
                        seconds=time.monotonic() - began,
                        state=f"{training.architecture} seed {training.seed}: {told}",
                        record=(training, outcome),
                    )
                )
        found = {one: store.outcomes[one] for one in trainings}
        return self.result(
            store,
            {"images": store.images, "device": store.device},
            rows=self._rows(store),
            failures={
                f"{one.architecture}, seed {one.seed}": outcome.reason
                for one, outcome in found.items()
                if outcome.reason
            },
            num_classes=store.num_classes,
            wall_seconds=store.seconds,
            training_seconds=round(sum(outcome.seconds for outcome in found.values()), 3),
            next_command=shlex.join(
                ["asvit", "correlate", "--reference", str(self.folder / TABLE)]
            ),
        )

    def settled(self, store: TrainingJournal, result: BuildResult) -> bool:
        """Whether nothing is left to train."""
        return super().settled(store, result) and not self._missing(store)

    def conclude(self, store: TrainingJournal, result: BuildResult) -> BuildResult:
        """Write the table, which a kill may have left behind the journal."""
        self._write_table(store)
        return result

    def _trainings(self) -> list[Training]:
        """All trainings, architecture by architecture: a part of them makes whole rows."""
        from asvit.reference.build import Training

        seeds = range(self.settings.seeds)
        return [Training(text, seed) for text in self.architectures for seed in seeds]

    def _missing(self, store: TrainingJournal) -> list[Training]:
        return [one for one in self._trainings() if one not in store.outcomes]

    def _outcomes(self, todo: Sequence[Training]) -> Generator[tuple[Training, Outcome]]:
        from asvit.reference.trainer import train_all

        if len(self.devices) > 1:
            yield from train_all(todo, self.settings, self.devices)
        else:
            for training in todo:
                yield training, self.trainer(training)

    def _rows(self, store: TrainingJournal) -> list[BuiltRow]:
        from asvit.reference.build import rows_of

        classes = store.num_classes
        return rows_of(self.architectures, store.outcomes, self.settings, classes)

    def _write_table(self, store: TrainingJournal) -> None:
        """Write the rows whose trainings are all finished."""
        from asvit.reference.build import provenance_of, to_csv

        rows = self._rows(store)
        command = replace(self, out=None).command_line()
        lines = provenance_of(rows, store, self.settings, versions=versions(), command=command)
        write_text(self.folder / TABLE, to_csv(rows, lines, seeds=self.settings.seeds))

    @classmethod
    def summary(cls, result: BuildResult) -> Iterator[SummaryPart]:
        """Spread and noise of the table, its best architectures, and the failed trainings."""
        spread, seeds = result.spread, result.settings.seeds
        facts: dict[str, object] = {
            "architectures": len(result.rows),
            "trainings": f"{result.settings.n * seeds} in {clock(result.wall_seconds)}, "
            f"{len(result.failures)} failed",
            "accuracy": f"{spread.lowest:.1f} to {spread.highest:.1f} %, "
            f"median {spread.median:.1f}",
            "std between architectures": f"{spread.between:.2f} points",
        }
        if seeds > 1:
            facts["std between seeds"] = f"{spread.within:.2f} points"
        if math.isfinite(result.noise_ceiling):
            facts["noise ceiling"] = (
                f"tau between two training seeds is {result.noise_ceiling:.3f}"
            )
        if math.isfinite(result.reachable):
            facts["reachable"] = (
                f"tau {result.reachable:.3f} with the means over {seeds} seeds, by a measure that "
                "knew every expected accuracy"
            )
        yield facts
        best = sorted(result.rows, key=lambda row: (row.mean != row.mean, -row.mean))[:_BEST]
        rows: list[list[Cell]] = [
            [row.architecture, row.params, row.macs, row.mean, row.std] for row in best
        ]
        title = f"The best {len(best)} of {len(result.rows)} architectures, per cent"
        yield Table(["architecture", "params", "multiply-adds", "accuracy", "std"], rows, title)
        if result.failures:
            yield Table(["training", "reason"], list(result.failures.items()), "Failed trainings")


def find_devices(names: str, jobs: int) -> tuple[str, ...]:
    """The device of each process."""
    from proxies.evaluation import resolve_device

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


@with_options(BuildSettings, BuildRun, CallOptions)
def build_reference(**given: Any) -> BuildResult:
    """Train random architectures of a space and write their accuracies as a reference table.

    The run folder holds ``trainings.jsonl`` (every finished training), ``table.csv`` (the
    architectures whose trainings are all finished, as :func:`asvit.reference.load_reference`
    reads it) and ``result.json``. After a stop at most the trainings in flight are done again; the
    table is the same whatever the number of jobs. More architectures or seeds extend a run.

    Raises:
        OSError: If a process died, too.

    Example:
        >>> result = asvit.build_reference(
        ...     n=2, seeds=1, train_images=200, test_images=100, image_size=32, width=8,
        ...     steps=2, batch_size=4, out="table",
        ... )
        >>> len(result.rows)
        2
    """
    return BuildRun.make(**given).run()
