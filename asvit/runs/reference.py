"""Building a table of reference accuracies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asvit.core.console import clock
from asvit.core.run_files import TABLE, TRAININGS
from asvit.core.settings import setting
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.reference.build_result import BuildResult
from asvit.reference.build_settings import BuildSettings
from asvit.runs.folder import RunFiles
from asvit.runs.run import Run, imported

_BEST = 10  # architectures of a summary


@dataclass(kw_only=True)
class BuildRun(Run[BuildSettings, BuildResult, Any]):
    """Train random architectures of a space from scratch, all by one recipe.

    The same command resumes a stopped run, or shows the result of a finished one; more
    architectures or seeds extend it. asvit correlate --reference takes the table.
    """

    command = "reference build"
    files = RunFiles(
        "reference", "reference table", TRAININGS, (TABLE,), figures=("spread", "seeds")
    )
    algorithm = imported("asvit.runs.algorithms.reference:BuildAlgorithm")
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
            f"of {s.batch_size} images, {s.images}, {s.image_size} px"
            f"{f', C={s.width}' * s.has_width}, seed {s.seed}"
        )

    @classmethod
    def summary(cls, result: BuildResult) -> Iterator[SummaryPart]:
        """Spread and noise of the table, its best architectures, and the failed trainings."""
        spread, seeds = result.spread, result.settings.seeds
        facts: dict[str, object] = {
            "architectures": len(result.rows),
            "trainings": f"{result.settings.n * seeds} in {clock(result.wall_seconds)}, "
            f"{len(result.failures)} failed",
        }
        if math.isnan(spread.between):
            facts["spread"] = "fewer than two architectures without a failed training"
        else:
            facts["accuracy"] = (
                f"{spread.lowest:.1f} to {spread.highest:.1f} %, median {spread.median:.1f}"
            )
            facts["std between architectures"] = f"{spread.between:.2f} points"
        if math.isfinite(spread.within):  # there are several seeds
            facts["std between seeds"] = f"{spread.within:.2f} points"
        if math.isfinite(result.noise_ceiling):
            facts["noise ceiling"] = (
                f"tau between two training seeds is {result.noise_ceiling:.3f}"
            )
        elif math.isfinite(spread.within):
            facts["noise ceiling"] = "a training seed with equal accuracies ranks nothing"
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


@with_options(BuildSettings, BuildRun, CallOptions)
def build_reference(**given: Any) -> BuildResult:
    """Train random architectures of a space and write their accuracies as a reference table.

    The run folder holds ``trainings.jsonl`` (every finished training), ``table.csv`` (the
    architectures whose trainings are all finished, as :func:`asvit.reference.load_reference`
    reads it; written every minute and at the end) and ``result.json``. After a stop at most the
    trainings in flight are done again; the table is the same whatever the number of jobs. More
    architectures or seeds extend a run.

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
