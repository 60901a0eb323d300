"""Designs: from a folder of pictures and limits to a trained, tested and exported network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.answers import confusions_of, read_answers
from asvit.core.console import clock, quantity
from asvit.core.files import expanded, split_reading
from asvit.core.run_files import (
    ANSWERS,
    GRAPH,
    MODEL,
    PICTURES,
    PREDICT_SCRIPT,
    PREDICTIONS,
    PRETRAINED_WEIGHTS,
    RECORDS,
    SMALL_GRAPH,
)
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.designs.fractals import folder_of
from asvit.designs.result import DesignResult
from asvit.designs.settings import DesignSettings
from asvit.designs.stages import FINALISTS, PRETRAINED, Stage
from asvit.export.formats import FOLDER_FILES
from asvit.runs.folder import RunFiles
from asvit.runs.run_folder import Kind
from asvit.runs.search import SEARCH
from asvit.runs.shared import MeasuringOptions
from asvit.runs.training import TRAIN
from asvit.use.tables import most_confused, pictures_table, worst_classes

if TYPE_CHECKING:
    from asvit.executors import Workers

_CONFUSED = 5  # pairs of classes in a summary


def summary(result: DesignResult) -> Iterator[SummaryPart]:
    """The outcome, each class, what was odd about the pictures, networks and their race."""
    yield result.outcome
    yield from result.remarks
    yield from _classes(result)
    columns = ["", "params", "multiply-adds", "ms", "architecture"]
    yield Table(columns, result.lines, "The network")
    channels = quantity(result.channels, "channel")
    pixels = f", {channels} of {result.pixels}" if result.pixels else ""
    yield (
        f"{result.image_size} px{pixels}; {'after the last round, ' * bool(result.last_round)}"
        f"{quantity(result.epochs, 'epoch')} on all {result.train_pictures:,} pictures but those "
        f"of the test; times by {result.measured_on}; all in {clock(result.wall_seconds)}"
    )
    if result.fractals:
        usual = ", as do ResNets that are trained on few pictures"
        yield (
            f"it began with weights of {result.fractals} epochs on generated fractals"
            f"{usual * (result.settings.warm_start == 'auto')}"
        )
    if result.int8:
        yield f"int8: {result.int8}"
    rows: list[list[Cell]] = [
        [racer.family, racer.origin, racer.epochs, racer.validation, racer.architecture]
        for racer in result.last_round
    ]
    if rows:
        judged = "accuracy" if result.balance == "none" else "balanced accuracy"
        title = f"The last round, which chose by {judged} of validation pictures, per cent"
        yield Table(["family", "origin", "epochs", "validation", "architecture"], rows, title)
    if rows and not result.ranked:
        yield "the check of the search does not show that it ranks better than a draw would"
    if result.prediction:
        yield f"from the search: {result.prediction}"
    for title, reasons in (
        ("Pictures that could not be read", result.unreadable),
        ("Pictures left out of the test, which had changed", result.left_out),
    ):
        if reasons:
            yield pictures_table(reasons, title)


def _classes(result: DesignResult) -> Iterator[Table]:
    """Recall and precision of each class, and the pairs that are confused most."""
    import numpy as np

    from asvit.use.measures import class_rows  # imports scikit-learn

    try:
        answers = read_answers(result.folder / ANSWERS)
    except FileNotFoundError:
        return
    names = sorted({*result.classes, *(one.label for one in answers)})
    place = {name: at for at, name in enumerate(names)}
    labels = np.array([place[one.label] for one in answers])
    taken = np.array([place.get(one.predicted, len(names)) for one in answers])
    yield worst_classes(class_rows(labels, taken, names))
    confused = most_confused(confusions_of((one.label, one.predicted) for one in answers))
    if confused.rows:
        yield replace(confused, rows=confused.rows[:_CONFUSED])


def _folder_name(s: DesignSettings, _options: object) -> str:
    folder = expanded(split_reading(s.data)[0]).absolute()  # "." has no name
    return f"design-{folder.name}-seed{s.seed}"


def _files() -> Iterator[str]:
    """The files of a design; what it goes on from goes first, before what it tells of."""
    yield RECORDS
    yield from (PICTURES, MODEL, PREDICTIONS, ANSWERS, GRAPH, SMALL_GRAPH, PREDICT_SCRIPT)
    yield from PRETRAINED_WEIGHTS
    yield from (f"{Path(name).stem}.md" for name in (GRAPH, MODEL, SMALL_GRAPH))
    yield from (f"{name}.md" for name in (GRAPH, MODEL, SMALL_GRAPH))
    yield from (f"timm/{name}" for name in FOLDER_FILES)
    trained = (*FINALISTS, *map(folder_of, FINALISTS), *PRETRAINED, "training")
    for stage, files in {"search": SEARCH.files, **dict.fromkeys(trained, TRAIN.files)}.items():
        yield from (f"{stage}/{name}" for name in files.names)


DESIGN = Kind(
    command="design",
    help="""Find, train, test and export a network for your pictures, within limits.

    Races families of networks by short trainings, trains the best few alike, at least one of a
    published shape among them, trains the most accurate one on all pictures, tests it on
    those that were set aside, and exports. The same command resumes a stopped design.
    """,
    files=RunFiles(
        "design",
        "design",
        tuple(_files()),
        figures=("race", "curves", "training", "confusion"),
    ),
    settings_type=DesignSettings,
    options_type=MeasuringOptions,
    result=DesignResult,
    execute="asvit.runs.algorithms.designing:execute",
    dry_run="asvit.runs.dry_runs:plan_of_design",
    name=_folder_name,
    summary=summary,
    pictures="asvit.report.design:pictures",
    details="asvit.report.design:details",
    records=(Stage,),
    written="report.html, model.safetensors, model.onnx, predict.py, timm, result.json",
    ends_in="architecture",
)


@with_options(DesignSettings, MeasuringOptions, CallOptions)
def design(data: str | Path, *, workers: Workers | None = None, **given: Any) -> DesignResult:
    """Find, train, test and export a network for pictures, within limits.

    The run folder holds the search, the trainings, ``model.safetensors``, ``model.onnx`` with the
    script that runs it, the folder ``timm``, ``result.json`` and the report. The same call
    continues a run that was stopped; finished stages are not run again.

    Args:
        data: A folder with a folder for each class, or ``train``, ``val`` and ``test`` of these.
        workers: Processes of the search; the result does not depend on them.

    Raises:
        ValueError: If there are too few pictures, or nothing is within the limits, too.

    Example:
        >>> result = asvit.design("pictures", max_params="5M", hours=1)  # doctest: +SKIP
        >>> result.architecture  # doctest: +SKIP
    """
    result: DesignResult = DESIGN.make(data=str(data), workers=workers, **given).run()
    return result
