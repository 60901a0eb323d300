"""The rows of figures against sums done by hand; every figure on ordinary, tiny and empty rows."""

import io
import math
import re

import pytest

from asvit.report import correlate, evolution, scale
from asvit.report import search_figures as figures
from asvit.report.search_figures import (
    CHOICE_WINDOW,
    ChoiceRow,
    EntropyRow,
    MeasureRow,
    PointRow,
    StandingRow,
    choice_rows,
    measure_rows,
    standing_rows,
)
from asvit.report.style import (
    COLOUR,
    style,
)
from asvit.search.evolution import Generation, PathRow
from asvit.search.rows import TrialRow

BOTH = {"length": "higher", "kappa": "lower"}


def trial(number: int, *, reward=0.0, entropy=1.0, architecture="a", **values: float) -> TrialRow:
    bad = any(math.isnan(value) for value in values.values())
    state = "failed" if bad else "complete"
    return TrialRow(number, architecture, 10, 20, values, reward, entropy, state, "")


def test_standings_are_ranks_among_all_of_the_run() -> None:
    values = [4.0, 1.0, math.nan, 4.0, 9.0]
    trials = [trial(i, kappa=v) for i, v in enumerate(values)]
    rows = standing_rows(trials, {"kappa": "lower"})
    # Of five, the failed one the worst: lower is better.
    assert [row.standing for row in rows] == [60.0, 90.0, 0.0, 60.0, 30.0]
    assert [row.average for row in rows[:3]] == pytest.approx([60, 75, 50])
    assert standing_rows([trial(0, kappa=1.0)], {"kappa": "reported"}) == []


# A text, and what it stands on.
WORDS = [("ink", "card"), ("muted", "card"), ("card", "level4")]
WORDS += [("ink", "level0"), ("ink", "level1")]


def test_a_failed_measure_is_a_gap_and_leaves_the_median_alone() -> None:
    values = [4.0, math.nan, 2.0, 9.0]
    rows = measure_rows([trial(i, kappa=v) for i, v in enumerate(values)], ["kappa"])
    assert [row.median for row in rows] == [4.0, 4.0, 3.0, 4.0]
    assert math.isnan(rows[1].value)


def test_choice_frequencies_sum_to_one_over_a_moving_window() -> None:
    count = 3 * CHOICE_WINDOW
    trials = [trial(i, architecture="x" if i < CHOICE_WINDOW else "y") for i in range(count)]
    rows = choice_rows(trials, lambda text: {"letter": text}, {"letter": ("x", "y")}, most=30)
    steps = sorted({row.step for row in rows})
    assert len(steps) == 30
    assert steps[-1] == count - 1
    for step in steps:
        assert sum(row.frequency for row in rows if row.step == step) == pytest.approx(1.0)
    assert [row.frequency for row in rows if row.step == count - 1] == [0.0, 1.0]
    assert (
        next(r.frequency for r in rows if r.step == CHOICE_WINDOW - 1 and r.choice == "x") == 1.0
    )


ENTROPY = [EntropyRow(i, 15.0 - i) for i in range(1, 9)]
STANDINGS = [StandingRow(i, name, 9.0 * i, 8.0 * i) for name in BOTH for i in range(1, 9)]
MEASURES = [
    MeasureRow(i, name, math.nan if i == 3 else 10.0**i, 10.0**i)
    for name in ("length_distortion", "<my measure>")
    for i in range(1, 9)
]
POINTS = [PointRow(i, f"arch{i}", float(i), 1000.0 / i, i == 8) for i in range(1, 9)]
CHOICES = [
    ChoiceRow(step, name, choice, 1 / 3)
    for name in ("K1", "E1", "H")
    for step in (1, 5, 9)
    for choice in ("2", "4", "8")
]
NAMES = ("length_distortion", "ntk_condition_number")
STAGES = [
    scale.StageRow(step, 10**step, stage, stage + step, 32)
    for step in range(1, 5)
    for stage in (1, 2)
]
SIZES = [scale.SizeRow(step, 10**step, 10**step) for step in range(8)]
SCORES = [scale.ScoreRow(step, "zico", 0.1 * step, step % 2 == 0) for step in range(8)]
CLOUDS = [
    scale.CloudRow(step, "a", stage, 32, stage, step, stage == 1)
    for step in (1, 2)
    for stage in range(4)
]
TAUS = [correlate.TauRow("top1", f"m{i}", i > 6, 9, i / 9, 0.0, 1.0) for i in range(8)]
PAIRS = [correlate.PairRow("top1", "a", 10.0**i, 50.0 + i) for i in range(8)]
GENERATIONS = [Generation(i, 8, 50.0 + i, 40.0 + i, 50.0 + i) for i in range(1, 9)]
PATHS = [PathRow(i, i, "random", "a", "b", 10 * i, 50.0 + i) for i in range(1, 9)]

DRAWINGS = {
    "entropy": lambda part: figures.draw_entropy(ENTROPY[part], uniform=15.3),
    "entropy, bare": lambda part: figures.draw_entropy(ENTROPY[part]),
    "standings": lambda part: figures.draw_standings(STANDINGS[part]),
    "measures": lambda part: figures.draw_measures(MEASURES[part]),
    "points": lambda part: figures.draw_points(POINTS[part], NAMES),
    "points with seed": lambda part: figures.draw_points(POINTS[part], NAMES, seed=(2.0, 9.0)),
    "points, lost seed": lambda part: figures.draw_points(POINTS[part], NAMES, seed=(2, math.nan)),
    "choices": lambda part: figures.draw_choices(CHOICES[part]),
    "growth": lambda part: scale.draw_growth(STAGES[part]),
    "sizes": lambda part: scale.draw_sizes(SIZES[part], budgets=[("1M", 10**6)]),
    "scores": lambda part: scale.draw_scores(SCORES[part]),
    "clouds": lambda part: scale.draw_clouds(CLOUDS[part], NAMES),
    "taus": lambda part: correlate.draw_taus(TAUS[part], ceilings={"top1": 0.9}),
    "pairs": lambda part: correlate.draw_pairs(PAIRS[part], "zico", {"top1": "title"}),
    "generations": lambda part: evolution.draw_generations(GENERATIONS[part], PATHS[part]),
    "costs": lambda part: evolution.draw_costs(PATHS[part], limit=60, winner="a"),
}


def svg(name: str, part: slice) -> str:
    buffer = io.StringIO()
    with style("salt"):
        figure = DRAWINGS[name](part)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_use_only_colours_of_the_palette(name: str) -> None:
    text = svg(name, slice(None))
    used = set(re.findall(r"#[0-9a-f]{6}\b", text))
    # Black is matplotlib's own default in unused definitions.
    assert used <= {*COLOUR.values(), "#000000"}
    words = set(re.findall(r"<text[^>]*fill: (#[0-9a-f]{6})", text))
    assert words <= {COLOUR["ink"], COLOUR["muted"]}


def test_points_draw_the_front_in_order_and_the_seed() -> None:
    rows = [PointRow(i, "a", x, x, True) for i, x in enumerate([3.0, 1.0, 2.0], 1)]
    (axes,) = figures.draw_points(rows, NAMES, seed=(2.5, 2.5)).axes
    (front,) = axes.lines
    assert list(front.get_xdata()) == [1.0, 2.0, 3.0]
    assert "seed architecture" in axes.get_legend_handles_labels()[1]
