"""Predictors judged on rows that they were not fitted to."""

import csv

import numpy as np
import pytest
from scipy import stats

import asvit
from asvit.predictor.validation import (
    SPLITS,
    Splits,
    gather_rows,
    make_split,
    predictor_findings,
)
from asvit.reference import load_reference
from asvit.reference.query import make_plan
from asvit.reference.settings import CorrelationSettings
from asvit.statistics.ranks import thirds

PIT = "vitbench101-pit"


def pit_texts(n):
    rng = np.random.default_rng(0)
    texts = {}
    while len(texts) < n:
        base, ratio = rng.choice([16, 24, 32, 40]), rng.choice([2, 4, 6])
        depths, first = rng.integers(1, 7, size=3), rng.choice([1, 2])
        blocks = ",".join(map(str, depths))
        texts[f"pit:{base},{ratio}|{blocks}|{first},{2 * first},{4 * first}"] = 0
    return list(texts)


def write(path, **columns):
    texts = pit_texts(len(next(iter(columns.values()))))
    params = [2_000_000 + 1000 * i for i in range(len(texts))]
    cells = {"architecture": texts, "params": params, "macs": params, **columns}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(cells)
        writer.writerows(zip(*cells.values(), strict=True))
    return path


def ratios(n):
    return np.array([float(text.split(",")[1].split("|")[0]) for text in pit_texts(n)])


@pytest.fixture(scope="module")
def validation():
    return asvit.cross_validate(PIT, splits=6)


def test_all_numbers_are_there_and_inside_their_intervals(validation):
    assert (validation.reference, validation.target) == (PIT, "c100_base_acc")
    assert (validation.rows, validation.trainings, validation.splits) == (100, 12, 6)
    for name in ("tau", "coverage"):
        low, high = getattr(validation, f"{name}_interval")
        assert low < getattr(validation, name) < high
    assert validation.best_count == "params"
    low, high = validation.difference_interval
    assert low < validation.tau - validation.best_count_tau < high
    assert validation.tau == pytest.approx(np.mean(validation.taus))


def test_tau_is_that_of_the_predictions(validation):
    rows = gather_rows(load_reference(PIT), None)
    split = make_split(rows, 12, seed=0, number=0)
    assert sorted([*split.train, *split.test]) == list(range(100))
    assert len(split.train) == 12
    tau = stats.kendalltau(split.mean, rows.accuracies[split.test]).statistic
    assert validation.taus[0] == pytest.approx(tau)


def test_what_choices_decide_is_learned_and_chance_is_not(tmp_path):
    noise = np.random.default_rng(0).uniform(0, 1, size=40)
    path = write(tmp_path / "own.csv", learned_acc=60 - ratios(40) + noise, chance_acc=50 + noise)
    learned = asvit.cross_validate(path, "learned_acc", splits=8)
    assert learned.tau_interval.low > 0.3
    assert learned.difference_interval.low > 0
    chance = asvit.cross_validate(path, "chance_acc", splits=8)
    assert chance.tau_interval.low < 0 < chance.tau_interval.high


def test_the_rival_is_chosen_on_the_training_rows_and_judged_on_the_others(tmp_path):
    accuracies = 50 + np.arange(30.0)  # as params
    path = write(tmp_path / "own.csv", accuracy=accuracies)
    validation = asvit.cross_validate(path, splits=5)
    assert (validation.best_count, validation.best_count_tau) == ("params", pytest.approx(1))
    rows = gather_rows(load_reference(path, check=False), None)
    split = make_split(rows, 12, 0, 0)
    # A count that is right in training alone is chosen, and no help.
    lucky = -rows.accuracies
    lucky[split.train] *= -1
    only = rows._replace(counts={"lucky": lucky, "chance": np.arange(30) % 7.0})
    assert only.best_count(split.train) == "lucky"
    splits = Splits(only, 12, 1, 0)
    assert splits.estimate(splits.taus([lucky])).value == pytest.approx(-1)


def test_columns_of_seeds_tell_the_noise(tmp_path):
    rng = np.random.default_rng(0)
    expected = 50 + ratios(40)
    seeds = {f"accuracy_seed{i}": expected + 2 * rng.normal(size=40) for i in range(4)}
    path = write(tmp_path / "own.csv", accuracy=np.mean(list(seeds.values()), axis=0), **seeds)
    above = [f"# target: {name} | one of four | scratch\n" for name in ("accuracy", *seeds)]
    path.write_text("".join(above) + path.read_text())
    rows = gather_rows(load_reference(path, check=False), "accuracy")
    assert rows.noise(np.arange(40)) == pytest.approx(1, rel=0.2)
    single = gather_rows(load_reference(path, check=False), "accuracy_seed1")
    assert single.noise(np.arange(40)) == pytest.approx(2, rel=0.2)
    assert asvit.cross_validate(path, "accuracy", splits=10).coverage == pytest.approx(
        0.9, abs=0.08
    )
    assert gather_rows(load_reference(PIT), None).noise(np.arange(9)) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": "c100_base"}, "has no target 'c100_base'; did you mean 'c100_base_acc'"),
        ({"trainings": 4}, "trainings=4, splits=30; use 1 split and 5 to 95 trainings"),
        ({"splits": 0}, "trainings=12, splits=0; use 1 split and 5"),
        ({"trainings": 96}, "to 95 trainings, as 100 row.* 'c100_base_acc' and 5"),
    ],
)
def test_bad_input_gets_one_line(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        asvit.cross_validate(PIT, **given)
    assert "\n" not in str(caught.value)


def findings(**asked):
    plan = make_plan(load_reference(PIT), CorrelationSettings(reference=PIT, **asked))
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
        it = one
        assert it.tau_interval.low < it.tau < it.tau_interval.high
        assert it.rival == "params"
        assert [part.count for part in it.within] == ["params", "macs"]
        assert all(part.tau_interval.low < part.tau < part.tau_interval.high for part in it.within)
    assert found[0].tau < found[-1].tau


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
    within = found[0].within[0]
    assert within.tau == pytest.approx(np.mean(taus), abs=0.002)  # but for ties in accuracy


def test_few_rows_have_fewer_predictors():
    assert [one.measure for one in findings(rows=30)] == ["predictor@12", "predictor@25"]
    assert findings(rows=10) == []
