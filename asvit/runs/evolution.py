"""Evolution over the paths of a trained supernet."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit.core.console import clock
from asvit.core.run_files import (
    ACCURACIES,
    EVOLUTION_FIGURES,
    INHERITED,
    TRIALS,
)
from asvit.core.settings import setting
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart, parts_of
from asvit.runs.folder import RunFiles
from asvit.runs.run import Run, imported
from asvit.search.supernet_result import (
    EvolutionResult,
)
from asvit.search.supernet_settings import EvolutionSettings


@dataclass(kw_only=True)
class EvolutionRun(Run[EvolutionSettings, EvolutionResult, Any]):
    """Find the best path of the supernet in the run folder SUPERNET by evolution.

    Paths inherit the supernet's weights; none is trained. Without SUPERNET it takes the newest
    finished one in runs. Given again, the same command continues a run that was stopped, or shows
    the result of a finished one; more generations extend it.
    """

    command = "supernet evolve"
    files = RunFiles(
        "evolution",
        "evolution",
        ACCURACIES,
        (TRIALS, INHERITED),
        figures=EVOLUTION_FIGURES,
    )
    algorithm = imported("asvit.runs.algorithms.evolution:EvolutionAlgorithm")
    report = imported("asvit.report.evolution:write_evolution_report")  # imports matplotlib
    written = "report.html, trials.csv, result.json, weights, figures"
    _summary = imported("asvit.report.evolution:summary")  # likewise
    may_grow = ("generations", "random_paths")

    supernet: Path | str | None = setting(
        None,
        "Run folder of the supernet; by default the newest finished one in runs.",
        metavar="[SUPERNET]",
        argument=True,
        complete="paths",
    )
    device: str = setting(
        "auto", "auto, cpu, cuda, cuda:1, mps, ...", metavar="DEVICE", repeats=False
    )

    @property
    def source(self) -> Path:
        """Run folder of the supernet."""
        return Path(self.supernet or "")

    def default_name(self) -> str:
        """Named after the supernet and the seed."""
        name = self.source.resolve().name.removeprefix("supernet-")
        return f"evolution-{name}-seed{self.settings.seed}"

    @property
    def title(self) -> str:
        """What is about to be evolved."""
        s = self.settings
        return (
            f"evolving paths of {shlex.quote(str(self.supernet))}: {s.generations} generations of "
            f"{s.population}, seed {s.seed}"
        )

    @classmethod
    def summary(cls, result: EvolutionResult) -> Iterator[SummaryPart]:
        """The generations, and the winner beside random paths."""
        yield from parts_of(cls._summary(result))
        yield f"{result.evaluated} paths in {clock(result.wall_seconds)}"


@with_options(EvolutionSettings, EvolutionRun, CallOptions)
def evolve_supernet(supernet: Path | str | None = None, **given: Any) -> EvolutionResult:
    """Search a trained supernet for its best path; the same call continues a run.

    Paths inherit the supernet's weights and are ranked by their accuracy on the images that were
    set apart from the training images; none is trained. The run folder holds
    ``accuracies.jsonl`` (every accuracy), ``trials.csv``, ``inherited.safetensors`` (the winner
    with its inherited weights), ``result.json`` and the report. After a stop at most the path in
    flight is evaluated again. More generations or random paths extend a run.

    Args:
        supernet: Run folder of the supernet; the newest finished one in ``runs`` by default.

    Raises:
        ValueError: If the supernet is unfinished, or no path costs as little or as much as asked,
            too.

    Example:
        >>> supernet = asvit.train_supernet(
        ...     train_images=60, validation_images=40, test_images=40, image_size=32, width=24,
        ...     epochs=1, batch_size=30, out="supernet",
        ... )
        >>> result = asvit.evolve_supernet(
        ...     "supernet", population=4, generations=2, keep=2, crossovers=1, mutations=1,
        ...     random_paths=2, out="evolution",
        ... )
        >>> result.winner.path.count("|")
        2
    """
    return EvolutionRun.make(supernet=supernet, **given).run()
