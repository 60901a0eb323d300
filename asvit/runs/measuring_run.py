"""What searches and scalings share: workers that measure, and a table that judges the measures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asvit.core.codec import to_json
from asvit.core.progress import Progress
from asvit.core.results import Result
from asvit.core.settings import MeasuringSettings, Settings, check_same_device, setting
from asvit.core.store import Store
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.core.versions import measure_versions
from asvit.runs.correlation import estimates, reliability
from asvit.runs.run import Run

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.reference import ReferenceTable
    from asvit.reference.findings import Reliability

S = TypeVar("S", bound=Settings)
R = TypeVar("R", bound=Result)
J = TypeVar("J", bound=Store[Any])

#: Key under which a run that times networks keeps what it times them on.
TIMED_ON = "timed_on"


@dataclass(kw_only=True)
class MeasuringRun(Run[S, R, J]):
    """A run whose measures a reference table can judge."""

    reference: str | Path | ReferenceTable | None = setting(
        None,
        "Reference table that tells how far the measures can be trusted, by its name (see asvit "
        "list references) or path: they are correlated with its accuracies in the end. A search "
        "that trains starts from its trainings.",
        metavar="TABLE",
        complete="asvit.reference:REFERENCES",
        repeats=False,
        listed=False,
    )
    workers: Workers | None = None  # the result does not depend on them

    @property
    def judged(self) -> bool:
        """Whether a reference table judges the measures of this run."""
        return True

    @property
    def training_command(self) -> str:
        """What trains the architecture of the finished run, on the images it was measured on."""
        words, usual = ["asvit", "train", str(self.folder)], MeasuringSettings()
        for name in ("data", "image_size", "seed", "device"):
            value = getattr(self.settings, name)
            if value not in (getattr(usual, name), "gaussian"):  # noise has no classes
                words += [f"--{name.replace('_', '-')}", str(value)]
        return shlex.join(words)

    def check(self) -> None:
        """Read the reference table, if there is one."""
        _ = self.table

    def versions(self, stored: Mapping[str, str] | None) -> Mapping[str, str]:
        """As the base does, with what all sessions measure with on a CPU: a kernel, a processor.

        Raises:
            ValueError: If a run that times networks goes on with another processor or accelerator.
        """
        from asvit.runs.measurement_pool import with_kernel
        from proxies import PROXIES

        proxies = self.measures
        timed = any(name in PROXIES and PROXIES[name].timed for name in proxies)
        if not timed and getattr(self.settings, "max_latency", None) is None:
            return {**with_kernel(stored), **measure_versions(proxies)}
        from proxies.evaluation import resolve_device
        from proxies.timing import device_name

        now = device_name(resolve_device(cast("Any", self.settings).device))
        check_same_device(self.folder, None if stored is None else stored.get(TIMED_ON), now)
        return {**with_kernel(stored), **measure_versions(proxies), TIMED_ON: now}

    @property
    def measures(self) -> Sequence[str]:
        """What is measured; a search by trainings names the accuracy, which is no measure."""
        return getattr(self.settings, "proxies", ())

    def changed_measures(self, store: J) -> list[str]:
        """The measures whose code is not that which the run has measured with."""
        if store.settings is None:
            return []
        before = measure_versions(self.measures, store.start_values.get("versions") or {})
        now = measure_versions(self.measures)
        return [one for one in before | now if before.get(one) != now.get(one)]

    def settled(self, store: J, result: R) -> bool:
        """As the base says, and measured by the code that is here."""
        return super().settled(store, result) and not self.changed_measures(store)

    @cached_property
    def table(self) -> ReferenceTable | None:
        """The reference table, if there is one."""
        from asvit.reference import load_reference

        return None if self.reference is None else load_reference(self.reference)

    def conclude(self, store: J, result: R) -> R:
        """Correlate the measures with the table, if there is one."""
        if self.table is None or not self.judged:
            return result
        chosen, settings = self.table, cast("Any", self.settings)

        def tell(progress: Progress) -> None:
            own = progress.unit == "row"
            self.progress(replace(progress, unit=f"row of {chosen.name}") if own else progress)

        found = reliability(result.folder, chosen, settings, workers=self.workers, tell=tell)
        judged: Any = result
        if to_json(found) == to_json(judged.reliability):  # NaN differs from itself
            return result
        whole: R = replace(judged, reliability=found)
        return whole


def rank_table(found: Reliability | None) -> Iterator[SummaryPart]:
    """How well the measures of a run rank a table, if there is one."""
    if found is None:
        return
    best = [] if found.best_count is None else [found.best_count]
    rows: list[list[Cell]] = [
        [row.measure, row.n, row.dropped, *estimates(row)] for row in (*found.measures, *best)
    ]
    ceiling = "" if found.noise_ceiling is None else f"; noise ceiling {found.noise_ceiling:.3f}"
    yield Table(
        ["measure", "n", "dropped", "τ [95 %]", "τ − count's"],
        rows,
        f"How the measures rank {found.reference}, {found.target}{ceiling}",
        rule=len(found.measures),
    )
    yield from (f"{row.measure}: {row.reason}" for row in found.measures if row.reason)
    last = "the last row is the best count; " if best else ""
    yield (
        f"{found.description}; {found.rows} architectures, measured as the run measured; {last}"
        f"all of it is in {found.folder}"
    )
