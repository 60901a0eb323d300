"""What trainings come to: seeds, finalists, a table."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy import stats

import asvit
from asvit.reference import ReferenceTable, load_reference
from asvit.search import Measurement, SearchSettings, TrialRow
from asvit.search.conclusion import Trained, check_predictor, confirmed, finalists_of, gathered
from asvit.search.limits import Limits
from asvit.search.trained import format_trained, noise_ceiling
from asvit.spaces import load_space
from proxies import Cost

SPACE = load_space("asvit-tiny")
LIMITS = Limits(SPACE, SearchSettings.make(space="asvit-tiny", controller="predictor", width=8))
FIRST, SECOND = "4,4,2|2,2,2|2,1,2|2,1,2|16", "8,8,4|3,4,2|2,2,2|2,1,4|32"


def row(number: int, text: str, accuracy: float) -> TrialRow:
    failed = math.isnan(accuracy)
    reason = "accuracy: the loss became nan in step 3" if failed else ""
    state = "failed" if failed else "complete"
    return TrialRow(number, text, 10, 20, {"accuracy": accuracy}, 0.0, math.nan, state, reason)


class Linear:
    """Predicts a number that the texts have, or its opposite, with one deviation for all."""

    def __init__(self, sign: float = 1.0) -> None:
        self._sign = sign

    def fit(
        self, architectures: Sequence[str], accuracies: ArrayLike, noise: ArrayLike
    ) -> "Linear":
        self.shown = list(architectures)
        return self

    def predict(
        self, architectures: Sequence[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        assert not set(architectures) & set(self.shown) or self._sign == 1.0
        found = np.array([float(text) for text in architectures])
        return self._sign * found, np.full(len(found), 2.0)


def test_trainings_are_gathered_by_architecture() -> None:
    rows = [row(0, FIRST, 70.0), row(1, SECOND, 60.0), row(2, FIRST, 72.0)]
    again = {f"{FIRST},8": [Measurement(10, 20, {"accuracy": 69.0}, {})]}
    found = gathered(rows, SPACE, LIMITS, again)
    assert found[f"{FIRST},8"] == Trained(FIRST, 0, Cost(10, 20), (70.0, 72.0, 69.0))
    assert found[f"{SECOND},8"].accuracies == (60.0,)
    failed = gathered([*rows, row(3, FIRST, math.nan)], SPACE, LIMITS, {})
    assert math.isnan(failed[f"{FIRST},8"].accuracy)
    assert "nan in step 3" in failed[f"{FIRST},8"].reason


def test_finalists_are_those_without_a_failure_by_mean_or_prediction() -> None:
    size = Cost(1, 2)
    trained = {
        "5": Trained("five", 0, size, (70.0, 80.0, 75.0)),
        "9": Trained("nine", 1, size, (71.0, 71.0)),
        "7": Trained("seven", 2, size, (99.0, math.nan), "it failed"),
    }
    by_mean = finalists_of(trained, None, {})
    assert [one.architecture for one in by_mean] == ["five", "nine"]
    assert (by_mean[0].values, by_mean[0].trainings) == ({"accuracy": 75.0}, 3)
    assert math.isnan(by_mean[0].predicted)
    by_prediction = finalists_of(trained, Linear, {})
    assert [one.architecture for one in by_prediction] == ["nine", "five"]
    assert [one.predicted for one in by_prediction] == [9.0, 5.0]
    again = finalists_of(trained, Linear, {"5": [80.0]})
    assert [one.architecture for one in again] == ["five", "nine"]
    assert again[0].confirmed.mean == 80.0
    assert again[1].confirmed is None
    (alone,) = finalists_of({text: trained[text] for text in "57"}, Linear, {})
    assert math.isnan(alone.predicted)  # three trainings are too few for a predictor


def test_fresh_trainings_have_a_student_interval_of_all_repeats() -> None:
    trainings = [("a", 70.0), ("a", 60.0), ("a", 62.0), ("b", 61.0), ("b", 63.0)]
    found = confirmed([60.0, 62.0], trainings)
    squares = 3 * np.var([70.0, 60.0, 62.0]) + 2 * np.var([61.0, 63.0])
    away = stats.t.ppf(0.95, 3) * math.sqrt(squares / 3) / math.sqrt(2)
    assert (found.mean, found.trainings) == (61.0, 2)
    assert (found.low, found.high) == pytest.approx((61 - away, 61 + away))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_predictor_is_judged_on_what_it_was_not_shown(sign: float) -> None:
    accuracies = {str(n): [n / 2, n / 2 + 0.1] for n in range(12)}
    found = check_predictor(lambda: Linear(sign), accuracies, seed=0)
    assert found.tau == sign
    assert found.tau_interval == (sign, sign)
    assert found.architectures == len(accuracies)


def test_equal_accuracies_tell_nothing_of_a_predictor() -> None:
    found = check_predictor(Linear, {str(n): [10.0] for n in range(12)}, seed=0)
    assert math.isnan(found.tau)
    assert all(map(math.isnan, found.tau_interval))
    assert found.in_words.startswith("all architectures have the same accuracy")
    one_apart = {str(n): [10.0 + (n == 11)] for n in range(12)}
    found = check_predictor(Linear, one_apart, seed=0)
    assert (found.tau, found.tau_interval) == (1, (1, 1))  # not pulled to 0 by equal ones


percent = st.floats(0, 100)


@pytest.mark.parametrize(
    ("rows", "ceiling"),
    [
        ([], math.nan),
        ([(1, 2)], math.nan),
        ([(1, 2), (3, math.nan)], math.nan),
        # Of the 6 pairs, seeds 0 and 1 order 5 alike and 1 the other way round.
        ([(1, 1), (2, 2), (3, 4), (4, 3), (9, math.nan)], 4 / 6),
        ([(1, 1, 3), (2, 2, 2), (3, 3, 1)], (1 - 1 - 1) / 3),  # the mean over pairs
        ([(1,), (2,), (3,)], math.nan),
        ([(1, 1), (1, 2), (1, 3)], math.nan),  # one seed ranks nothing
        ([(1, 1), (2, 2), (3,)], math.nan),  # one has a single seed
        ([(1, 1, 9), (2, 2), (3, 3)], 1.0),  # by the seeds that all have
    ],
)
def test_the_noise_ceiling_by_hand(rows: list[tuple[float, ...]], ceiling: float) -> None:
    assert noise_ceiling(rows) == pytest.approx(ceiling, nan_ok=True)


def written(
    path: Path, values: Sequence[tuple[float, ...]]
) -> tuple[list[Trained], ReferenceTable]:
    """Rows with these accuracies, and the table that is read from their file."""
    rng, space = np.random.default_rng(0), load_space("asvit")
    texts = [str(space.sample(rng).with_(width=8)) for _ in values]
    rows = [
        Trained(text, 0, asvit.cost(text, 32, 10), pair)
        for text, pair in zip(texts, values, strict=True)
    ]
    path.write_text(
        format_trained(rows, {"num_classes": "10", "image_size": "32", "accuracies": "per cent"})
    )
    return rows, load_reference(path)


def test_cells_without_a_training_are_empty_and_the_file_says_the_noise(tmp_path: Path) -> None:
    values = [(10.0, 11.0), (20.0, 22.0), (30.0, 21.0), (40.0, 41.0), (50.0, 49.0)]
    _, table = written(tmp_path / "mine.csv", values)
    # 9 of 10 pairs are ordered alike
    assert {target.noise_ceiling for target in table.targets.values()} == {0.8}
    assert set(table.targets) == {"accuracy", "accuracy_seed0", "accuracy_seed1"}
    _, table = written(tmp_path / "mine.csv", [(50.0, 51.0), *((52.0 + i,) for i in range(5))])
    assert table.accuracies["accuracy"] == (50.5, 52, 53, 54, 55, 56)
    assert table.targets.keys() == {"accuracy", "accuracy_seed0"}  # one row has another seed
    first, *others = table.accuracies["accuracy_seed1"]
    assert (first, np.isnan(others).tolist()) == (51, 5 * [True])
    assert "mean of 1 to 2 training seed(s)" in table.targets["accuracy"].description
    _, table = written(tmp_path / "mine.csv", [(5.0, math.nan), *((1.0 * n, 1) for n in range(5))])
    assert math.isnan(table.accuracies["accuracy"][0])
    assert table.targets["accuracy"].noise_ceiling is None  # one seed has the same for all
