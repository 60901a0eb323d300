"""The figures of a design: the race of its families, learning curves, and what the test shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asvit.core.codec import MALFORMED
from asvit.core.results import stored_content
from asvit.core.run_files import METRICS, PREDICTIONS, RESULT
from asvit.core.summary import Cell, Photo, Table
from asvit.designs.stages import FINALISTS, PRETRAINED
from asvit.report.pictures import Picture
from asvit.report.style import COLOUR, LONGEST, figure, legend, series_styles, whole
from asvit.report.training import MOST_CLASSES, confusion_picture, title_with
from asvit.training.metrics import EpochRow, Mistake, read_metrics, read_predictions
from asvit.use.tables import most_confused
from proxies.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from asvit.designs.result import DesignResult, Racer


@dataclass(frozen=True)
class CurveRow:
    """Accuracy of a network of the last round after an epoch, or of the winner after it."""

    network: str
    epoch: int  # of the last round, then of the training on all pictures
    # Per cent, balanced where classes are: of the validation pictures; in the training on all, of
    # those that it is trained on, as they are augmented.
    accuracy: float


def pictures(result: DesignResult) -> list[Picture]:
    """The pictures of a design."""
    curves, tested = curve_rows(result), read_predictions(result.folder / PREDICTIONS)
    race = [racer for racer in result.race if racer.round != "none"]
    judged = "Accuracy" if result.balance == "none" else "Balanced accuracy"
    figures = list[Picture]()
    if race:
        shown = Picture(
            "race",
            "The race",
            f"{judged} of every network of the search by its family, on its validation pictures; "
            "rings are networks made by hand. Diamonds are accuracies of those of the last round, "
            "which were trained for longer, on the test pictures, with 95 % intervals.",
            lambda: draw_race(race),
            (race, type(race[0])),
        )
        figures.append(shown)
    if curves:
        figures.append(
            Picture(
                "curves",
                "Learning curves",
                f"{judged} of the validation pictures after each epoch of the last round. Then "
                "the winner is trained on all pictures, and its accuracy is of these, augmented.",
                lambda: draw_curves(curves),
                (curves, CurveRow),
            )
        )
    return [*figures, *confusion_picture(tested, "Test pictures")]


def curve_rows(result: DesignResult) -> list[CurveRow]:
    """The accuracies of the last round, and of the winner then; none of folders that are gone."""
    rows = list[CurveRow]()
    if not result.last_round:
        return _then(result, "training", 0)
    for place, racer in enumerate((r for r in result.race if r.round == "last"), 1):
        raced = _history(result.folder, racer)
        rows += [CurveRow(f"{place}: {racer.group}", row.epoch, row.score) for row in raced]
        if racer.chosen and raced:
            rows += _then(result, "the winner, then", len(raced))
    return rows


def _then(result: DesignResult, name: str, before: int) -> list[CurveRow]:
    """The accuracies of the training on all pictures, after so many epochs."""
    return [
        CurveRow(name, before + row.epoch, row.train_top1)
        for row in read_metrics(result.folder / "training" / METRICS)
        if row.train_top1 is not None
    ]


def _history(folder: Path, racer: Racer) -> list[EpochRow]:
    """The epochs of a network in the last round; those of networks that dropped out are beside."""
    for stage in PRETRAINED if racer.pretrained else FINALISTS:
        with suppress(OSError, *MALFORMED):
            if stored_content(folder / stage / RESULT)["architecture"] == racer.architecture:
                return read_metrics(folder / stage / METRICS)
    return []


def draw_race(race: Sequence[Racer]) -> Figure:
    """Accuracies of the networks by family, the family with the best one first."""
    best = dict[str, float]()
    for racer in race:
        value = racer.accuracy if racer.round == "last" else racer.validation
        if math.isfinite(value):
            best[racer.group] = max(value, best.get(racer.group, 0.0))
    families = sorted(best, key=lambda family: best[family])
    fig = figure(height=max(2.4, 1.2 + 0.32 * len(families)))
    axes = fig.subplots()
    for racer in race:
        if racer.group not in best:
            continue
        place = families.index(racer.group)
        if racer.round == "search":
            face = "none" if racer.by_hand else COLOUR["muted"]
            axes.scatter(racer.validation, place, s=30, color=face, edgecolors=COLOUR["muted"])
            continue
        low, high = racer.accuracy_interval
        colour = COLOUR["first" if racer.chosen else "second"]
        away = [[racer.accuracy - low], [high - racer.accuracy]]
        axes.errorbar(racer.accuracy, place, xerr=away, fmt="D", color=colour, capsize=3)
    axes.set_yticks(range(len(families)), [one_line(name, most=LONGEST) for name in families])
    axes.set_xlabel("accuracy (%)")
    return fig


def draw_curves(rows: Sequence[CurveRow]) -> Figure:
    """Accuracy over epochs, a line for each network."""
    fig = figure()
    axes = fig.subplots()
    networks = dict.fromkeys(row.network for row in rows)
    for name, (colour, line, _) in zip(networks, series_styles(), strict=False):
        own = [row for row in rows if row.network == name]
        epochs, accuracies = [row.epoch for row in own], [row.accuracy for row in own]
        look: Any = {"color": colour, "linestyle": line, "marker": "o" if len(own) == 1 else ""}
        axes.plot(epochs, accuracies, label=one_line(name, most=LONGEST), **look)
    axes.set(xlabel="epoch", ylabel="accuracy (%)")
    whole(axes.xaxis)
    legend(fig)
    return fig


def details(result: DesignResult) -> Iterator[Table]:
    """Test pictures, the networks of the search, equal pictures, and the stages' commands."""
    yield from _examples(result)
    searched: list[list[Cell]] = [
        [racer.family, racer.architecture, "yes" if racer.by_hand else "", racer.validation]
        for racer in result.race
        if racer.round == "search"
    ]
    columns = ["family", "architecture", "made by hand", "validation"]
    title = "The search, best first, per cent"
    if result.balance != "none":
        title += "; of validation pictures, balanced accuracy"
    if searched:
        yield Table(columns, searched, title)
    if result.equal:
        yield Table(["names"], [[" = ".join(names)] for names in result.equal], "Equal pictures")
    yield Table(["command"], [[command] for command in result.commands], "Each stage again")


def _examples(result: DesignResult) -> Iterator[Table]:
    """Test pictures that the network takes for another class, and some that it gets right.

    Where classes are too many for a confusion matrix, the most confused ones come first.
    """
    tested = read_predictions(result.folder / PREDICTIONS)
    if tested is None:
        return
    if tested.mistakes and len(tested.classes) > MOST_CLASSES:
        yield most_confused(tested.confusion)
    for rows, title in (
        (tested.mistakes, "Test pictures that are taken for another class, the surest first"),
        (tested.right, "Test pictures that are taken for what they are"),
    ):
        if rows:
            columns = ["picture", "name", "class", "taken for", "probability (%)"]
            yield Table(columns, [_photo(row) for row in rows], title_with(title, tested))


def _photo(row: Mistake) -> list[Cell]:
    return [Photo(row.picture), row.name, row.label, row.predicted, row.confidence]
