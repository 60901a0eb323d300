"""Every figure on ordinary, tiny and empty rows; the same rows give the same bytes."""

import io
import math
import re

import pytest
from matplotlib.figure import Figure

from asvit.report import figures
from asvit.report.axes import log_scale
from asvit.report.rows import ChoiceRow, EntropyRow, MeasureRow, PointRow, RewardRow
from asvit.report.style import PALETTE, levels, style

ENTROPY = [EntropyRow(i, 15.0 - i) for i in range(1, 9)]
REWARD = [RewardRow(i, (-1.0) ** i, 1 / i) for i in range(1, 9)]
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

DRAWINGS = {
    "entropy": lambda part: figures.draw_entropy(ENTROPY[part], uniform=15.3),
    "entropy, bare": lambda part: figures.draw_entropy(ENTROPY[part]),
    "reward": lambda part: figures.draw_reward(REWARD[part]),
    "measures": lambda part: figures.draw_measures(MEASURES[part]),
    "points": lambda part: figures.draw_points(POINTS[part], NAMES),
    "points with seed": lambda part: figures.draw_points(POINTS[part], NAMES, seed=(2.0, 9.0)),
    "points, lost seed": lambda part: figures.draw_points(POINTS[part], NAMES, seed=(2, math.nan)),
    "choices": lambda part: figures.draw_choices(CHOICES[part]),
}


def svg(name: str, part: slice) -> str:
    buffer = io.StringIO()
    with style("salt"):
        figure = DRAWINGS[name](part)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


@pytest.mark.parametrize("part", [slice(None), slice(3), slice(1), slice(0)])
@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_draw_twice_the_same(name: str, part: slice) -> None:
    assert svg(name, part) == svg(name, part)


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_use_only_colours_of_the_palette(name: str) -> None:
    known = {light for light, _ in PALETTE.values()}
    used = set(re.findall(r"#[0-9a-f]{6}\b", svg(name, slice(None))))
    assert used <= known | {"#000000"}  # black is matplotlib's own default in unused definitions


@pytest.mark.parametrize("name", DRAWINGS)
def test_without_rows_a_figure_says_why(name: str) -> None:
    (axes,) = DRAWINGS[name](slice(0)).axes
    assert axes.texts[0].get_text()


def test_entropy_marks_the_uniform_policy() -> None:
    (axes,) = figures.draw_entropy(ENTROPY, uniform=15.33).axes
    assert axes.texts[0].get_text() == "uniform: 15.33"
    assert axes.get_ylim()[0] == 0


def test_measures_have_a_panel_each_and_mark_failures() -> None:
    axes = figures.draw_measures(MEASURES).axes
    assert [a.get_title(loc="left") or a.get_title() for a in axes] == [
        "length distortion",
        "<my measure>",
    ]
    assert all(a.get_yscale() == "log" for a in axes)
    marks = [line for a in axes for line in a.lines if line.get_label() == "failed"]
    assert [list(line.get_xdata()) for line in marks] == [[3], [3]]


def test_points_draw_the_front_in_order_and_the_seed() -> None:
    rows = [PointRow(i, "a", x, x, True) for i, x in enumerate([3.0, 1.0, 2.0], 1)]
    (axes,) = figures.draw_points(rows, NAMES, seed=(2.5, 2.5)).axes
    (front,) = axes.lines
    assert list(front.get_xdata()) == [1.0, 2.0, 3.0]
    assert "seed architecture" in axes.get_legend_handles_labels()[1]


def test_every_point_is_drawn_once() -> None:
    (axes,) = figures.draw_points(POINTS, NAMES).axes
    assert sum(len(c.get_offsets()) for c in axes.collections) == len(POINTS)


def test_choices_have_a_panel_a_dimension_with_every_choice_named() -> None:
    shown = [axes for axes in figures.draw_choices(CHOICES).axes if axes.axison]
    assert [axes.get_title(loc="left") or axes.get_title() for axes in shown] == ["K1", "E1", "H"]
    assert [text.get_text() for text in shown[0].get_legend().get_texts()] == ["2", "4", "8"]


@pytest.mark.parametrize("name", ["reward", "measures", "points with seed"])
def test_what_is_shown_is_named_below_it(name: str) -> None:
    with style("salt"):
        made = DRAWINGS[name](slice(None))
        made.draw_without_rendering()
    (legend,) = made.legends
    top = legend.get_window_extent().y1
    assert all(axes.get_tightbbox().y0 >= top - 1 for axes in made.axes)
    names = [text.get_text() for text in legend.get_texts()]
    assert len(set(names)) == len(names)
    assert ("failed" in names) == (name == "measures")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.002, "0.002"),
        (500.0, "500"),
        (2e4, "20,000"),
        (5e6, "5M"),
        (2e10, "20G"),
        (1e13, "10,000G"),
    ],
)
def test_wide_axes_have_plain_numbers(value: float, text: str) -> None:
    axes = Figure().subplots()
    log_scale(axes, "x", [value, 100 * value])
    assert axes.xaxis.get_major_formatter()(value) == text


def test_names_from_outside_are_cut_and_legible() -> None:
    assert figures.label("a" * 100) == "a" * figures.LONGEST + "..."
    assert figures.label("a\x1b[2Jb") == "a\\x1b[2Jb"
    assert figures.label("ntk_condition_number") == "NTK condition number"


@pytest.mark.parametrize("count", [0, 1, 2, 5, 9])
def test_levels(count: int) -> None:
    assert len(levels(count)) == count
    if 2 <= count <= 5:
        assert len(set(levels(count))) == count


def test_palette_values_are_unique_so_that_a_theme_can_find_them() -> None:
    light = [pair[0] for pair in PALETTE.values()]
    assert len(set(light)) == len(light)
