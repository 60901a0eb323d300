"""The rows behind the figures, against sums done by hand."""

import math

import pytest

from asvit.report.rows import (
    CHOICE_WINDOW,
    WINDOW,
    choice_rows,
    entropy_rows,
    measure_rows,
    point_rows,
    reward_rows,
)
from asvit.search.rows import TrialRow

BOTH = {"length": "higher", "kappa": "lower"}


def trial(number: int, *, reward=0.0, entropy=1.0, architecture="a", **values: float) -> TrialRow:
    bad = any(math.isnan(value) for value in values.values())
    state = "failed" if bad else "complete"
    return TrialRow(number, architecture, 10, 20, values, reward, entropy, state, "")


def test_entropy_is_empty_without_a_policy() -> None:
    assert entropy_rows([trial(0, entropy=math.nan), trial(1, entropy=math.nan)]) == []


def test_entropy_counts_steps_from_one() -> None:
    rows = entropy_rows([trial(0, entropy=3.0), trial(1, entropy=2.0)])
    assert [(row.step, row.entropy) for row in rows] == [(1, 3.0), (2, 2.0)]


def test_reward_average_is_bias_corrected() -> None:
    rows = reward_rows([trial(0, reward=1.0), trial(1, reward=0.0)])
    assert rows[0].average == pytest.approx(1.0)
    assert rows[1].average == pytest.approx(0.09 / 0.19)


def test_a_failed_measure_is_a_gap_and_leaves_the_median_alone() -> None:
    values = [4.0, math.nan, 2.0, 9.0]
    rows = measure_rows([trial(i, kappa=v) for i, v in enumerate(values)], ["kappa"])
    assert [row.median for row in rows] == [4.0, 4.0, 3.0, 4.0]
    assert math.isnan(rows[1].value)


def test_the_median_forgets_after_its_window() -> None:
    values = [100.0] * WINDOW + [1.0] * WINDOW
    rows = measure_rows([trial(i, kappa=v) for i, v in enumerate(values)], ["kappa"])
    assert rows[-1].median == 1.0


def test_only_failures_have_no_median() -> None:
    (row,) = measure_rows([trial(0, kappa=math.nan)], ["kappa"])
    assert math.isnan(row.median)


def test_a_measure_the_table_lacks_is_a_failure() -> None:
    (row,) = measure_rows([trial(0, kappa=1.0)], ["length"])
    assert math.isnan(row.value)


def test_points_leave_out_failures_and_keep_their_steps() -> None:
    rows = point_rows(
        [
            trial(0, length=1.0, kappa=5.0),
            trial(1, length=2.0, kappa=math.nan),
            trial(2, length=2.0, kappa=5.0),
        ],
        BOTH,
    )
    assert [(row.step, row.on_front) for row in rows] == [(1, False), (3, True)]


def test_one_measure_has_no_plane() -> None:
    assert point_rows([trial(0, kappa=1.0)], {"kappa": "lower"}) == []


def test_choice_frequencies_sum_to_one_over_a_moving_window() -> None:
    count = 3 * CHOICE_WINDOW
    trials = [trial(i, architecture="x" if i < CHOICE_WINDOW else "y") for i in range(count)]
    rows = choice_rows(trials, lambda text: {"letter": text}, {"letter": ("x", "y")}, most=30)
    steps = sorted({row.step for row in rows})
    assert len(steps) == 30
    assert steps[-1] == count
    for step in steps:
        assert sum(row.frequency for row in rows if row.step == step) == pytest.approx(1.0)
    assert [row.frequency for row in rows if row.step == count] == [0.0, 1.0]
    assert next(r.frequency for r in rows if r.step == CHOICE_WINDOW and r.choice == "x") == 1.0


def test_no_trials_no_rows() -> None:
    assert entropy_rows([]) == []
    assert reward_rows([]) == []
    assert measure_rows([], ["kappa"]) == []
    assert point_rows([], BOTH) == []
    assert choice_rows([], lambda text: {"letter": text}, {"letter": ("x", "y")}) == []
