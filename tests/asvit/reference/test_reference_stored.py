"""Scores that come with the bundled tables, and what they tell of a run's measures."""

import math
from functools import partial

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata

from asvit.reference import load_reference
from asvit.reference.settings import CorrelationSettings
from asvit.reference.stored import FOLDER, stored_reliability, stored_values
from asvit.runs.measurement_pool import EvalContext
from proxies import measure

TABLES = ("asvit-fractal", "asvit-sizes")
MEASURES = ("length_distortion", "ntk_condition_number")


@pytest.mark.parametrize("name", [path.stem for path in FOLDER.iterdir()])
def test_every_row_of_a_table_has_scores(name: str) -> None:
    table = load_reference(name)
    values, how = stored_values(table)
    assert " px, " in how
    assert {len(column) for column in values.values()} == {len(table)}
    assert all(np.isfinite(values[name]).all() for name in ("params", *MEASURES))


@pytest.mark.parametrize("name", TABLES)
def test_stored_scores_are_what_is_measured_today(name: str) -> None:
    table, settings = load_reference(name), CorrelationSettings(device="cpu")
    context = EvalContext(settings, image_size=32)
    stored, _ = stored_values(table)
    for row in (0, 5):
        build = partial(table.build, row)
        key = table.architectures[row]
        scores = measure(build, (*MEASURES, "snip"), key=key, **context.arguments)
        for name, score in scores.items():
            assert score.value == pytest.approx(stored[name][row], rel=2e-3)


@pytest.mark.parametrize("name", TABLES)
def test_tau_is_that_of_the_stored_scores(name: str) -> None:
    table, told = load_reference(name), stored_reliability(name, MEASURES)
    values, _ = stored_values(table)
    length, kappa = (values[measure] for measure in MEASURES)
    columns = length, -kappa, rankdata(length) + rankdata(-kappa)
    assert [one.measure for one in told.measures] == [*MEASURES, "+".join(MEASURES)]
    for one, column in zip(told.measures, columns, strict=True):
        assert one.tau == pytest.approx(kendalltau(column, table.accuracies["accuracy"])[0])
        assert one.tau_interval.low < one.tau < one.tau_interval.high
    assert np.isfinite(told.best_count.tau)


def test_a_measure_without_stored_scores_has_a_reason() -> None:
    known, unknown, both = stored_reliability("asvit-sizes", ["snip", "ccs"]).measures
    assert math.isfinite(known.tau)
    assert math.isnan(unknown.tau)
    assert unknown.reason == both.reason == "no scores of ccs come with table asvit-sizes"
