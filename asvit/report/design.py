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
from asvit.report.training import confusion_picture, draw_epochs, title_with
from asvit.training.metrics import EpochRow, Mistake, read_metrics, read_predictions
from proxies.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from asvit.designs.result import DesignResult, Racer


@dataclass(frozen=True)
class CurveRow:
    """Accuracy of a network of the last round after an epoch."""

    network: str
    epoch: int
    accuracy: float  # of the validation pictures, per cent; balanced where classes are


def pictures(result: DesignResult) -> list[Picture]:
    """The pictures of a design."""
    curves, tested = curve_rows(result), read_predictions(result.folder / PREDICTIONS)
    race = [racer for racer in result.race if racer.round != "none"]
    judged = "accuracy" if result.balance == "none" else "balanced accuracy"
    epochs = read_metrics(result.folder / "training" / METRICS)
    figures = list[Picture]()
    if race:
        shown = Picture(
            "race",
            "The race",
            f"{judged.capitalize()} of the validation pictures, of every network of the search by "
            "its family; rings are networks made by hand. Diamonds are those of the last round, "
            "which were trained for longer.",
            lambda: draw_race(race, f"{judged} (%)"),
            (race, type(race[0])),
        )
        figures.append(shown)
    if curves:
        figures.append(
            Picture(
                "curves",
                "Learning curves",
                f"{judged.capitalize()} of the validation pictures after each epoch of the last "
                "round.",
                lambda: draw_curves(curves, f"{judged} (%)"),
                (curves, CurveRow),
            )
        )
    if epochs:
        figures.append(
            Picture(
                "training",
                "The training on all pictures",
                "Mean loss of the augmented pictures in each epoch.",
                lambda: draw_epochs(epochs, {"loss (nats)": ("train_loss",)}),
                (epochs, EpochRow),
            )
        )
    return [*figures, *confusion_picture(tested, "Test pictures")]


def curve_rows(result: DesignResult) -> list[CurveRow]:
    """The accuracies of the last round; none of folders that are gone."""
    return [
        CurveRow(f"{place}: {racer.group}", row.epoch, row.score)
        for place, racer in enumerate((r for r in result.race if r.round == "last"), 1)
        for row in _history(result.folder, racer)
    ]


def _history(folder: Path, racer: Racer) -> list[EpochRow]:
    """The epochs of a network in the last round; those of networks that dropped out are beside."""
    for stage in PRETRAINED if racer.pretrained else FINALISTS:
        with suppress(OSError, *MALFORMED):
            if stored_content(folder / stage / RESULT)["architecture"] == racer.architecture:
                return read_metrics(folder / stage / METRICS)
    return []


def draw_race(race: Sequence[Racer], label: str) -> Figure:
    """Accuracies of the networks by family, the family with the best one first."""
    best = dict[str, float]()
    for racer in race:
        if math.isfinite(racer.validation):
            best[racer.group] = max(racer.validation, best.get(racer.group, 0.0))
    families = sorted(best, key=lambda family: best[family])
    fig = figure(height=max(2.4, 1.2 + 0.32 * len(families)))
    axes = fig.subplots()
    for racer in race:
        if racer.group not in best:
            continue
        place, colour = families.index(racer.group), COLOUR["muted"]
        look: Any = {"color": "none" if racer.by_hand else colour, "edgecolors": colour, "s": 30}
        if racer.round == "last":
            chosen = COLOUR["first" if racer.chosen else "second"]
            look = {"color": chosen, "marker": "D", "zorder": 3}
        axes.scatter(racer.validation, place, **look)
    axes.set_yticks(range(len(families)), [one_line(name, most=LONGEST) for name in families])
    axes.set_xlabel(label)
    return fig


def draw_curves(rows: Sequence[CurveRow], label: str) -> Figure:
    """Accuracy over epochs, a line for each network."""
    fig = figure()
    axes = fig.subplots()
    networks = dict.fromkeys(row.network for row in rows)
    for name, (colour, line, _) in zip(networks, series_styles(), strict=False):
        own = [row for row in rows if row.network == name]
        epochs, accuracies = [row.epoch for row in own], [row.accuracy for row in own]
        look: Any = {"color": colour, "linestyle": line, "marker": "o" if len(own) == 1 else ""}
        axes.plot(epochs, accuracies, label=one_line(name, most=LONGEST), **look)
    axes.set(xlabel="epoch", ylabel=label)
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
        title += "; balanced accuracy of validation pictures"
    if searched:
        yield Table(columns, searched, title)
    if result.equal:
        yield Table(["names"], [[" = ".join(names)] for names in result.equal], "Equal pictures")
    yield Table(["command"], [[command] for command in result.commands], "Each stage again")


def _examples(result: DesignResult) -> Iterator[Table]:
    """Test pictures that the network takes for another class, and some that it gets right."""
    tested = read_predictions(result.folder / PREDICTIONS)
    if tested is None:
        return
    for rows, title in (
        (tested.mistakes, "Test pictures that are taken for another class, the surest first"),
        (tested.right, "Test pictures that are taken for what they are"),
    ):
        if rows:
            columns = ["picture", "name", "class", "taken for", "probability (%)"]
            yield Table(columns, [_photo(row) for row in rows], title_with(title, tested))


def _photo(row: Mistake) -> list[Cell]:
    return [Photo(row.picture), row.name, row.label, row.predicted, row.confidence]
