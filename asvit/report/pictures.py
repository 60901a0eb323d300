"""The five pictures of a search: which rows go into which figure, and the words under it."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING

from asvit.report import figures, rows
from asvit.report.style import ALIKE, FONT, style

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from matplotlib.figure import Figure

    from asvit.report.run import SearchTrials
    from asvit.spaces import SearchSpace

_GOOD = {"higher": "higher is better", "lower": "lower is better", "reported": "only reported"}


@dataclass(frozen=True)
class Picture:
    """A figure as its files hold it, and the words that go with it.

    Attributes:
        name: Name of its files, without their ending.
        title: What it shows, in a few words.
        caption: How to read it.
        svg: The figure.
        csv: The rows that the figure shows.
        wide: Whether it takes the whole width of a page.
    """

    name: str
    title: str
    caption: str
    svg: str
    csv: str
    wide: bool = False

    def _repr_svg_(self) -> str:
        """How a notebook shows it."""
        return self.svg


def pictures(run: SearchTrials) -> list[Picture]:
    """Draw every picture of ``run``; one without anything to show says so."""
    return [_entropy(run), _reward(run), _measures(run), _front(run), _choices(run)]


def _entropy(run: SearchTrials) -> Picture:
    space = run.space()
    uniform = sum(math.log(len(c)) for c in space.dimensions.values()) if space else None
    found = rows.entropy_rows(run.trials)
    return make_picture(
        "entropy",
        "Entropy of the policy",
        "Joint entropy of the policy that drew each architecture. It falls as the search settles.",
        lambda: figures.draw_entropy(found, uniform=uniform),
        (found, rows.EntropyRow),
    )


def _reward(run: SearchTrials) -> Picture:
    found = rows.reward_rows(run.trials)
    return make_picture(
        "reward",
        "Reward",
        "Change of the measures from one architecture to the next, as a share of their recent "
        "range, and its moving average: the baseline that a policy compares with.",
        lambda: figures.draw_reward(found),
        (found, rows.RewardRow),
    )


def _measures(run: SearchTrials) -> Picture:
    found = rows.measure_rows(run.trials, list(run.better))
    ways = ", ".join(f"{figures.label(name)} ({_GOOD[way]})" for name, way in run.better.items())
    return make_picture(
        "measures",
        "Measures",
        f"Every architecture, and the median of the last {rows.WINDOW}: {ways}.",
        lambda: figures.draw_measures(found),
        (found, rows.MeasureRow),
    )


def _front(run: SearchTrials) -> Picture:
    plane = run.objectives if len(run.objectives) > 1 else run.better
    found = rows.point_rows(run.trials, plane)
    first, second, *_ = (*plane, "", "")
    where = {"higher": ("right", "up"), "lower": ("left", "down")}
    ways = [where[w][i] for i, w in enumerate(list(plane.values())[:2]) if w in where]
    values = run.result.values if run.result else {}
    across, up = (values.get(name, math.nan) for name in (first, second))
    return make_picture(
        "front",
        "Front",
        f"Better is {' and '.join(ways) or 'undecided'}. Stronger points came later; the line "
        "joins those that no other architecture beats in both.",
        lambda: figures.draw_points(found, (first, second), seed=(across, up)),
        (found, rows.PointRow),
    )


def _choices(run: SearchTrials) -> Picture:
    space = run.space()
    found: list[rows.ChoiceRow] = []
    if space is not None:
        found = rows.choice_rows(run.trials, _encoder(space), space.dimensions)
    return make_picture(
        "choices",
        "Choices",
        "How often each choice of each dimension was drawn of late.",
        lambda: figures.draw_choices(found),
        (found, rows.ChoiceRow),
        wide=True,
    )


def _encoder(space: SearchSpace) -> Callable[[str], Mapping[str, object]]:
    """The choices of a text; a search may have drawn one many times."""
    return cache(lambda text: space.encode(space.parse(text)))


def make_picture(
    name: str,
    title: str,
    caption: str,
    draw: Callable[[], Figure],
    shown: tuple[Sequence[DataclassInstance], type[DataclassInstance]],
    *,
    wide: bool = False,
) -> Picture:
    """Draw a figure and keep it with its words and rows.

    Args:
        name: Name of its files, without their ending.
        title: What it shows, in a few words.
        caption: How to read it.
        draw: Makes the figure.
        shown: The rows that it shows, and their class.
        wide: Whether it takes the whole width of a page.
    """
    buffer = io.StringIO()
    with style(name), warnings.catch_warnings():
        # Whoever looks at the file has other fonts than the one that its text is laid out with.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        # Names of any length may leave no room for axes; the page has them as text as well.
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        # No date and no version: the same run gives the same file.
        draw().savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue().replace(f"'{FONT}'", f"'{FONT}', {ALIKE}")
    return Picture(name, title, caption, svg, _csv(*shown), wide)


def _csv(found: Sequence[DataclassInstance], kind: type[DataclassInstance]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([field.name for field in fields(kind)])
    writer.writerows(astuple(row) for row in found)
    # JSON can hold halves of characters, which UTF-8 has no form for.
    return buffer.getvalue().encode("utf-8", "backslashreplace").decode("utf-8")
