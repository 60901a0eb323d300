"""Supernets: trained path by path, and searched for the best path by evolution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asvit.core.console import clock, number, percent, quantity
from asvit.core.files import expanded
from asvit.core.run_files import INHERITED, METRICS, STUDY, SUPERNET_WEIGHTS, TRIALS
from asvit.core.settings import setting, settings_class
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart, Table
from asvit.runs.folder import RunFiles, newest_run
from asvit.runs.run_folder import Check, Kind, Prepared
from asvit.runs.shared import DeviceOptions
from asvit.search.evolution import EvolutionResult, EvolutionSettings
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet_result import SupernetResult


def summary(result: SupernetResult) -> Iterator[SummaryPart]:
    """The loss, and random paths."""
    random, losses = result.accuracy, result.losses
    yield {
        "space": result.settings.space,
        "parameters": result.params,
        "loss, first epoch to last": f"{losses[0]:.3f} to {losses[-1]:.3f} nats",
        f"accuracy of {random.paths} random paths on the validation images": (
            f"{random.lowest:.1f} to {random.highest:.1f} %, median {random.median:.1f}"
        ),
        "chance": f"{100 / result.num_classes:.1f} %",
    }
    yield f"trained in {clock(result.wall_seconds)}"


SUPERNET = Kind(
    command="supernet train",
    help="""Train the supernet of a space: every batch trains one path drawn at random.

    The same command resumes a stopped run, or shows the result of a finished one.
    """,
    files=RunFiles("supernet", "supernet", (METRICS, SUPERNET_WEIGHTS), figures=("loss",)),
    settings_type=SupernetSettings,
    options_type=DeviceOptions,
    result=SupernetResult,
    execute="asvit.runs.algorithms.supernet:train",
    name=lambda s, _: f"supernet-{s.space}-{s.image_size}px-seed{s.seed}",
    summary=summary,
    pictures="asvit.report.training:supernet_pictures",
    written="report.html, supernet.safetensors, metrics.csv, result.json",
    complete=(SUPERNET_WEIGHTS,),
)


@with_options(SupernetSettings, DeviceOptions, CallOptions)
def train_supernet(**given: Any) -> SupernetResult:
    """Train the supernet of a space, one path at a time; the same call continues a run.

    The run folder holds ``supernet.safetensors`` (weights, and the optimiser's state while it is
    unfinished), ``metrics.csv`` (losses of epochs) and ``result.json``. After a stop at most an
    epoch is trained again, and of a long one at most a minute; the weights are the same on a CPU.

    Raises:
        ValueError: If the loss is not finite, too.

    Example:
        >>> result = asvit.train_supernet(
        ...     train_images=60, validation_images=40, test_images=40, image_size=32, width=24,
        ...     epochs=1, batch_size=30, out="supernet",
        ... )
        >>> len(result.losses)
        1
    """
    result: SupernetResult = SUPERNET.make(**given).run()
    return result


def evolution_summary(result: EvolutionResult) -> Iterator[SummaryPart]:
    """The winner, the generations, and random paths with the same weights."""
    limit = number(result.settings.max_macs)
    facts: dict[str, object] = {
        "winner": result.architecture,
        "parameters": result.params,
        "multiply-adds": f"{number(result.macs)} of {limit} allowed",
        "validation, inherited weights": percent(result.validation),
        "test, inherited weights": percent(result.test),
        "paths": f"{result.evaluated} in {quantity(len(result.generations), 'generation')}",
        "space": result.space,
        "supernet": result.provenance["supernet"]["source"],
    }
    if result.reason:
        facts["ended early"] = result.reason
    yield facts
    columns = ["generation", "paths", "best", "median", "best so far"]
    rows = [list(vars(row).values()) for row in result.generations]
    yield Table(columns, rows, "Generations: validation accuracy, per cent")
    columns = ["images", "number", "lowest", "median", "highest", "winner"]
    rows = [
        [part, *vars(of).values(), getattr(result, part)] for part, of in result.random.items()
    ]
    yield Table(columns, rows, "Beside the random paths of the first generation")
    yield (
        "Accuracy in per cent with the same inherited weights. The winner was chosen by the "
        "validation images, so that only the test images compare fairly."
    )
    yield f"{quantity(result.evaluated, 'path')} in {clock(result.wall_seconds)}"


@settings_class
class EvolutionOptions(DeviceOptions):
    """Options of an evolution beside its settings."""

    supernet: Path | str | None = setting(
        None,
        "Run folder of the supernet; by default the newest finished one in runs.",
        metavar="[SUPERNET]",
        argument=True,
        complete="paths",
    )

    @property
    def source(self) -> Path:
        """Run folder of the supernet."""
        return expanded(str(self.supernet or ""))


def _evolution_name(s: EvolutionSettings, options: EvolutionOptions) -> str:
    name = options.source.resolve().name.removeprefix("supernet-")
    return f"evolution-{name}-seed{s.seed}"


def _with_supernet(values: dict[str, Any], check: Check) -> Prepared:
    """Without a supernet, the newest finished one."""
    check(values)
    if values.get("supernet"):
        return values, {}
    newest = newest_run("supernet")
    return {**values, "supernet": newest}, {"implied": {"supernet": newest}}


EVOLVE = Kind(
    command="supernet evolve",
    help="""Find the best path of the supernet in the run folder SUPERNET by evolution.

    Paths inherit the supernet's weights; none is trained. Without SUPERNET it takes the newest
    finished one in runs. The same command resumes a stopped run, or shows the result of a finished
    one; more generations extend it.
    """,
    files=RunFiles(
        "evolution", "evolution", (TRIALS, INHERITED, STUDY), figures=("generations", "costs")
    ),
    settings_type=EvolutionSettings,
    options_type=EvolutionOptions,
    result=EvolutionResult,
    prepare=_with_supernet,
    execute="asvit.runs.algorithms.supernet:evolve",
    name=_evolution_name,
    may_grow=("generations",),
    summary=evolution_summary,
    pictures="asvit.report.evolution:pictures",
    details="asvit.report.evolution:details",
    written="report.html, trials.csv, result.json, inherited.safetensors, figures",
    complete=(TRIALS, INHERITED),
    settles=False,
    ends_in="architecture",
)


@with_options(EvolutionSettings, EvolutionOptions, CallOptions)
def evolve_supernet(supernet: Path | str | None = None, **given: Any) -> EvolutionResult:
    """Search a trained supernet for its best path; the same call continues a run.

    Paths inherit the supernet's weights and are ranked by their accuracy on the images that were
    set apart from the training images; none is trained. The run folder holds ``study.journal``
    (the Optuna study), ``trials.csv``, ``inherited.safetensors`` (the winner with its inherited
    weights), ``result.json`` and the report. After a stop at most the path in flight is evaluated
    again. More generations extend a run.

    Args:
        supernet: Run folder of the supernet; the newest finished one in ``runs`` by default.

    Raises:
        ValueError: If the supernet is unfinished, or no path costs as little as asked, too.

    Example:
        >>> supernet = asvit.train_supernet(
        ...     train_images=60, validation_images=40, test_images=40, image_size=32, width=24,
        ...     epochs=1, batch_size=30, out="supernet",
        ... )
        >>> result = asvit.evolve_supernet(
        ...     "supernet", population=4, generations=2, keep=2, crossovers=1, mutations=1,
        ...     out="evolution",
        ... )
        >>> result.path.count("|")
        2
    """
    result: EvolutionResult = EVOLVE.make(supernet=supernet, **given).run()
    return result
