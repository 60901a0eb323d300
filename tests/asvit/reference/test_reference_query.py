"""Settings and queries of correlations, and the names of measures in them."""

import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata

from asvit.reference import load_reference
from asvit.reference.query import (
    FOLDER,
    correlate_all,
    counts,
    resolve,
    stored_reliability,
    stored_values,
)
from asvit.reference.result import Values
from asvit.reference.settings import CorrelationSettings
from asvit.runs.measurement_pool import EvalContext
from asvit.statistics.ranks import kendall, rank_sum
from proxies import PROXIES, measure


def test_the_counts_come_first_params_and_macs_at_their_head() -> None:
    names = [proxy.name for proxy in counts()]
    assert names[:2] == ["params", "macs"]
    assert set(names) == {
        proxy.name for proxy in PROXIES.values() if not (proxy.random or proxy.timed)
    }
    assert resolve(["length_distortion"]) == (*names, "length_distortion")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lenght_distortion", "unknown proxy 'lenght_distortion'; did you mean 'length_"),
        ("params+lenght_distortion", "did you mean 'length_distortion'"),
        ("params+", "unknown proxy ''"),
        ("params+gauss_map_length", "'gauss_map_length' is only reported and cannot be ranked"),
        ("params+macs+params", "names a measure more than once"),
    ],
)
def test_names_that_are_wrong(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        resolve([name])


def test_a_rank_sum_ranks_the_rows_of_its_target_alone() -> None:
    """Rows with another target's accuracy alone are between those that it ranks."""
    rng = np.random.default_rng(0)
    zico, snip, late, every = rng.normal(size=(4, 40)).round(1)
    late[rng.permutation(40)[:25]] = np.nan
    columns = {**{proxy.name: rng.normal(size=40) for proxy in counts()}, "zico": zico}
    measures = {name: tuple(column) for name, column in {**columns, "snip": snip}.items()}
    accuracies = {"late": tuple(late), "every": tuple(every)}
    values = Values(tuple(map(str, range(40))), (32,) * 40, accuracies, measures, ("",) * 40)
    plan: Any = SimpleNamespace(targets=("late", "every"), shown=("zico+snip",))
    taus = {one.target: one.tau for one in correlate_all(plan, values, seed=0)}
    rated = np.isfinite(late)
    alone = kendall(rank_sum([zico[rated], snip[rated]]), late[rated])
    assert taus["late"] == pytest.approx(alone)
    assert alone != pytest.approx(kendall(rank_sum([zico, snip])[rated], late[rated]))
    assert taus["every"] == pytest.approx(kendall(rank_sum([zico, snip]), every))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"targets": 3}, "targets must be names of accuracies, got 3"),
        ({"max_params": 3}, "did you mean 3M"),
        ({"max_params": "22G"}, "max_params must count parameters"),
    ],
)
def test_queries_that_are_not_allowed(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CorrelationSettings(reference="mine", **given)


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
    table, settings = load_reference(name), CorrelationSettings(reference=name, device="cpu")
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
    known, unknown, both = stored_reliability("asvit-sizes", ["snip", "latency"]).measures
    assert math.isfinite(known.tau)
    assert math.isnan(unknown.tau)
    assert unknown.reason == both.reason == "no scores of latency come with table asvit-sizes"
