"""The figures and long tables of a search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from asvit.core.summary import Cell, Table
from asvit.report import search_figures as draw
from asvit.report.pictures import Picture
from asvit.report.style import label
from asvit.search.result import SearchResult
from asvit.search.rows import objectives, without_sizes
from asvit.search.settings import ACCURACY
from proxies import get_proxy

if TYPE_CHECKING:
    from asvit.search import TrialRow
    from asvit.spaces import SearchSpace
    from asvit.spaces.base import Choice
    from proxies.registry import Better

_GOOD = {"higher": "higher is better", "lower": "lower is better", "reported": "only reported"}
_WHERE = {"higher": ("right", "up"), "lower": ("left", "down")}


def direction(measure: str) -> Better:
    """The direction of ``measure``; "reported" if it is not registered here."""
    if measure == ACCURACY:
        return "higher"
    try:
        return get_proxy(measure).better
    except KeyError:
        return "reported"


def pictures(result: SearchResult) -> list[Picture]:
    """Every picture of a search; pictures without data say so."""
    space, trials = _space(result), result.trials
    try:
        choices = [] if space is None else _choice_rows(space, trials)
    except ValueError:  # it was edited since
        space, choices = None, []
    better = {name: direction(name) for name in result.settings.proxies}
    aims = objectives(better)
    uniform = sum(math.log(len(c)) for c in space.dimensions.values()) if space else None
    directions = ", ".join(f"{label(name)} ({_GOOD[way]})" for name, way in better.items())
    plane = aims if len(aims) > 1 else better
    first, second, *_ = (*plane, "", "")
    points = draw.point_rows(trials, plane)
    entropies = draw.entropy_rows(trials)
    standings = draw.standing_rows(trials, better)
    measures = draw.measure_rows(trials, list(better))
    ways = [_WHERE[w][i] for i, w in enumerate(list(plane.values())[:2]) if w in _WHERE]
    across, up = (result.values.get(name, math.nan) for name in (first, second))
    figures = [
        Picture(
            "entropy",
            "Entropy of the policy",
            "Joint entropy of the policy that drew each architecture. It falls as the search "
            "settles.",
            lambda: draw.draw_entropy(entropies, uniform=uniform),
            (entropies, draw.EntropyRow),
        ),
        Picture(
            "reward",
            "Learning",
            f"The share of all draws that the last {draw.WINDOW} architectures are better than, "
            "on average. Random draws stay at about 50 %; a controller that learns rises.",
            lambda: draw.draw_standings(standings),
            (standings, draw.StandingRow),
        ),
        Picture(
            "measures",
            "Measures",
            f"Every architecture, and the median of the last {draw.WINDOW}: {directions}.",
            lambda: draw.draw_measures(measures),
            (measures, draw.MeasureRow),
        ),
        Picture(
            "front",
            "Front",
            f"Better is {' and '.join(ways) or 'undecided'}. Stronger points came later; the line "
            "joins those that no other architecture beats in both.",
            lambda: draw.draw_points(points, (first, second), seed=(across, up)),
            (points, draw.PointRow),
        ),
        Picture(
            "choices",
            "Choices",
            f"Share of each choice in the last {draw.CHOICE_WINDOW} architectures drawn.",
            lambda: draw.draw_choices(choices),
            (choices, draw.ChoiceRow),
            wide=True,
        ),
    ]
    if not result.settings.trains:
        return figures
    # There is no policy, and one objective.
    return [figure for figure in figures if figure.name not in ("entropy", "front")]


def _choice_rows(space: SearchSpace, trials: Sequence[TrialRow]) -> list[draw.ChoiceRow]:
    """The share of each choice of a space, trial by trial."""
    chosen = cache(partial(_choices, space))  # a search may draw an architecture many times
    # Depths that are asked for may be none of the space's choices.
    shown = {
        name: (*space.dimensions[name], *(chosen(row.architecture)[name] for row in trials))
        for name in ([space.branch] if space.branch else space.dimensions)
    }
    distinct = {name: tuple(dict.fromkeys(every)) for name, every in shown.items()}
    return draw.choice_rows(trials, chosen, distinct)


def _choices(space: SearchSpace, text: str) -> Mapping[str, Choice]:
    """The choices of an architecture; of several families, most of whose do not count, its own."""
    arch = space.parse(text)
    if space.branch:
        return {space.branch: space.family_of(arch)}
    return dict(zip(space.dimensions, space.values(arch), strict=True))


def _space(result: SearchResult) -> SearchSpace | None:
    """The search space; None if it is not registered here."""
    from asvit.spaces import load_space

    try:
        return load_space(result.settings.space)
    except (KeyError, ValueError):
        return None


def details(result: SearchResult) -> Iterator[Table]:
    """The best architectures, the letters in their texts, and every trial."""
    measures = without_sizes(result.settings.proxies)
    columns = ["step", "architecture", "params", "multiply-adds", *measures]
    if result.front:
        best = [_cells(row, measures) for row in result.front]
        yield Table(columns, best, "The best in all measures together, the front first")
    yield from legend(_space(result))
    rows = [
        [*_cells(row, measures), row.reward, row.entropy, row.state, row.reason]
        for row in result.trials
    ]
    columns += ["reward", "entropy", "state", "reason"]
    yield Table(columns, rows, "Trials")


def _cells(row: TrialRow, measures: Sequence[str]) -> list[Cell]:
    values = (row.values.get(name) for name in measures)
    return [row.number, row.architecture, row.params, row.macs, *values]


def legend(space: SearchSpace | None) -> Iterator[Table]:
    """What the names of a space's dimensions mean, if it says so."""
    if space is not None and space.legend:
        title = f"What the letters mean in space {space.name}: {space.description}"
        yield Table(["name", "what it is"], list(space.legend.items()), title)
