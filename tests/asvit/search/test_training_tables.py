"""Trainings of searches as reference tables: rows, noise, and the file."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asvit
from asvit.reference import ReferenceTable, load_reference
from asvit.search.trained import Trained
from asvit.search.training_tables import format_trained, noise_ceiling
from asvit.spaces import load_space

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
        Trained(text, None, asvit.cost(text, 32, 10), pair)
        for text, pair in zip(texts, values, strict=True)
    ]
    path.write_text(format_trained(rows, {"num_classes": "10", "image_size": "32"}, seeds=2))
    return rows, load_reference(path)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(percent, percent), min_size=5, max_size=9, unique=True))
def test_a_table_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[float, float]]
) -> None:
    rows, table = written(tmp_path_factory.mktemp("tables") / "mine.csv", values)
    assert table.architectures == tuple(each.architecture for each in rows)
    assert table.image_sizes == (32,) * len(rows)
    assert table.params == tuple(each.size.params for each in rows)
    assert table.macs == tuple(each.size.macs for each in rows)
    assert table.default_target == "accuracy"
    assert {target.training for target in table.targets.values()} == {"scratch"}


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
