"""The predictor as a row of a correlation."""

import numpy as np
import pytest
from scipy import stats

from asvit.predictor.validation import SPLITS, gather_rows, make_split, predictor_findings
from asvit.reference import load_reference
from asvit.reference.query import make_plan
from asvit.reference.settings import CorrelationQuery
from asvit.statistics.ranks import thirds


def findings(**asked):
    plan = make_plan(load_reference("vitbench101-pit"), CorrelationQuery(**asked), seed=0)
    table, rows = plan.table, list(plan.rows)
    counts = {
        name: np.array(getattr(table, name), dtype=float)[rows] for name in ("params", "macs")
    }
    return predictor_findings(plan, counts=counts, image_size=None, seed=0)


@pytest.fixture(scope="module")
def found():
    return findings()


def test_there_is_a_row_for_each_number_of_trainings(found):
    assert [one.measure for one in found] == ["predictor@12", "predictor@25", "predictor@50"]
    assert all(one.predicted and not one.trivial for one in found)
    for one in found:
        it = one.correlation
        assert it.tau_interval.low < it.tau < it.tau_interval.high
        assert it.rival == "params"
        assert [part.count for part in it.within] == ["params", "macs"]
        assert all(part.tau_interval.low < part.tau < part.tau_interval.high for part in it.within)
    assert found[0].correlation.tau < found[-1].correlation.tau


def test_tau_within_thirds_is_that_of_the_pairs_inside(found):
    rows = gather_rows(load_reference("vitbench101-pit"), None)
    params = 2 ** rows.counts["params"]
    taus = []
    for number in range(SPLITS):
        split = make_split(rows, 12, 0, number)
        agreeing, pairs = 0.0, 0
        groups = thirds(params)[split.test]
        for third in np.unique(groups):
            inside = groups == third
            x, y = split.mean[inside], rows.accuracies[split.test][inside]
            n = len(x) * (len(x) - 1) / 2
            agreeing += stats.kendalltau(x, y).statistic * n
            pairs += n
        taus.append(agreeing / pairs)
    within = found[0].correlation.within[0]
    assert within.tau == pytest.approx(np.mean(taus), abs=0.002)  # but for ties in accuracy


def test_few_rows_have_fewer_predictors():
    assert [one.measure for one in findings(rows=30)] == ["predictor@12", "predictor@25"]
    assert findings(rows=10) == []
