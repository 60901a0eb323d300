"""The algorithm of reference tables."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from asvit.core.console import percent
from asvit.core.files import write_text
from asvit.core.progress import Progress, Tell, image_progress
from asvit.core.run_files import TABLE
from asvit.executors.placement import place
from asvit.reference import trainer
from asvit.reference.build import (
    Finished,
    Outcome,
    Training,
    TrainingJournal,
    draw,
    provenance_of,
    rows_of,
    sizes_of,
    to_csv,
)
from asvit.reference.build_result import BuildResult, BuiltRow, correlate_command
from asvit.reference.table import LEAST_ROWS
from asvit.runs.checks import find_space
from asvit.runs.reference import BuildRun
from proxies.counts import Cost
from proxies.evaluation import resolve_device

_EVERY_SECONDS = 60.0  # between two writings of the table, which take seconds of 10,000s of rows


@dataclass(kw_only=True)
class BuildAlgorithm(BuildRun):
    """Trains the architectures of a table."""

    journal_type = TrainingJournal

    @cached_property
    def architectures(self) -> tuple[str, ...]:
        """Texts of the architectures of the table."""
        s = self.settings
        return draw(find_space(s.space, image_size=s.image_size), s)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The device of each process."""
        return find_devices(self.device, self.jobs)

    @cached_property
    def trainer(self) -> trainer.Trainer:
        """Trains on the first device."""
        progress = image_progress(self.progress)
        return trainer.Trainer(self.settings, self.devices[0], progress=progress)

    @cached_property
    def sizes(self) -> Mapping[str, Cost]:
        """Parameters and multiply-adds of the networks, all of which can be built."""
        classes, channels = self.trainer.num_classes, self.trainer.in_chans
        return sizes_of(self.architectures, self.settings, classes, channels)

    def check(self) -> None:
        """Draw the architectures, and find the devices."""
        _ = self.architectures, self.devices

    def load(self) -> Mapping[str, Any]:
        """Images, their classes and channels, and the kind of device; builds all networks."""
        trained, _ = self.trainer, self.sizes
        return {
            "images": trained.provenance,
            "num_classes": trained.num_classes,
            "in_chans": trained.in_chans,
            "device": self.devices[0].partition(":")[0],
        }

    def execute(self, store: TrainingJournal, tell: Tell) -> BuildResult:
        """Train what the journal does not have, and write the table now and then."""
        trainings, todo = self._trainings(), self._missing(store)
        before, began = len(trainings) - len(todo), time.monotonic()
        written = began
        with closing(self._outcomes(todo)) as outcomes:
            for done, (training, outcome) in enumerate(outcomes, before + 1):
                store.add_record(Finished(training, outcome))
                if time.monotonic() - written >= _EVERY_SECONDS:
                    self._write_table(store, self._rows(store))
                    written = time.monotonic()
                state = outcome.reason or percent(outcome.accuracy)
                tell(
                    Progress(
                        "training",
                        done,
                        len(trainings),
                        resumed=before,
                        seconds=time.monotonic() - began,
                        state=f"{training.architecture} seed {training.seed}: {state}",
                        record=(training, outcome),
                    )
                )
        outcomes_by = {training: store.outcomes[training] for training in trainings}
        rows = self._rows(store)
        ranked = sum(math.isfinite(row.mean) for row in rows) >= LEAST_ROWS
        return self.result(
            store,
            {"images": store.images, "device": store.device},
            rows=rows,
            failures={
                f"{training.architecture}, seed {training.seed}": outcome.reason
                for training, outcome in outcomes_by.items()
                if outcome.reason
            },
            num_classes=store.num_classes,
            wall_seconds=store.seconds,
            training_seconds=round(sum(each.seconds for each in outcomes_by.values()), 3),
            next_command=correlate_command(self.folder) if ranked else "",
        )

    def settled(self, store: TrainingJournal, result: BuildResult) -> bool:
        """Whether nothing is left to train."""
        return super().settled(store, result) and not self._missing(store)

    def conclude(self, store: TrainingJournal, result: BuildResult) -> BuildResult:
        """Write the table, which is behind the journal until now."""
        self._write_table(store, result.rows)
        return result

    def _trainings(self) -> list[Training]:
        """All trainings, architecture by architecture: a part of them makes whole rows."""
        seeds = range(self.settings.seeds)
        return [Training(text, seed) for text in self.architectures for seed in seeds]

    def _missing(self, store: TrainingJournal) -> list[Training]:
        return [each for each in self._trainings() if each not in store.outcomes]

    def _outcomes(self, todo: Sequence[Training]) -> Generator[tuple[Training, Outcome]]:
        if len(self.devices) > 1:
            digest = self.trainer.provenance["digest"]
            yield from trainer.train_all(todo, self.settings, self.devices, digest=digest)
        else:
            for training in todo:
                yield training, trainer.outcome_of(self.trainer, training)

    def _rows(self, store: TrainingJournal) -> list[BuiltRow]:
        """The rows whose trainings are all finished."""
        return rows_of(self.sizes, store.outcomes, seeds=self.settings.seeds)

    def _write_table(self, store: TrainingJournal, rows: Sequence[BuiltRow]) -> None:
        command = replace(self, out=None).command_line()
        lines = provenance_of(rows, store, self.settings, command=command)
        write_text(self.folder / TABLE, to_csv(rows, lines, seeds=self.settings.seeds))


def find_devices(names: str, jobs: int) -> tuple[str, ...]:
    """The device of each process."""
    devices = [str(resolve_device(name.strip())) for name in names.split(",")]
    kinds = sorted({device.partition(":")[0] for device in devices})
    if len(kinds) > 1:
        raise ValueError(
            f"devices {names!r} are of {len(kinds)} kinds, {' and '.join(kinds)}, whose results "
            "differ in their last digits; use one kind"
        )
    return place(devices, max(jobs, len(devices)))
