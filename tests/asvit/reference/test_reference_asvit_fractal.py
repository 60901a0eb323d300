"""The shipped table of the As-ViT space is what the command of that name makes."""

import math
import statistics

import pytest

from asvit.reference import ReferenceTable, load_reference
from asvit.reference.build import draw, noise_ceiling, size_of
from asvit.reference.build_result import BuiltRow
from asvit.reference.build_settings import BuildSettings
from asvit.runs.reference import BuildRun
from asvit.spaces import load_space

SETTINGS = BuildSettings.make("asvit-fractal")


@pytest.fixture(scope="module")
def table() -> ReferenceTable:
    return load_reference("asvit-fractal")


@pytest.fixture(scope="module")
def rows(table: ReferenceTable) -> list[BuiltRow]:
    each = [table.accuracies[f"accuracy_seed{seed}"] for seed in range(SETTINGS.seeds)]
    accuracies = zip(*each, strict=True)
    return [
        BuiltRow(text, *vars(size_of(text, 32, 20)).values(), values)
        for text, values in zip(table.architectures, accuracies, strict=True)
    ]


def test_its_rows_are_those_that_the_preset_draws(table: ReferenceTable) -> None:
    assert table.architectures == draw(load_space("asvit"), SETTINGS)
    assert len(table) == 60
    assert (table.num_classes, set(table.image_sizes)) == (20, {32})


def test_it_names_the_command_that_makes_it(table: ReferenceTable) -> None:
    assert table.provenance["source"].endswith(f", {BuildRun(settings=SETTINGS).command_line()}")
    assert {"title", "licence", "recipe", "accuracies", "hardware"} <= set(table.provenance)


def test_its_counts_are_exact(table: ReferenceTable, rows: list[BuiltRow]) -> None:
    assert table.params == tuple(row.params for row in rows)
    assert table.macs == tuple(row.macs for row in rows)


def test_its_accuracies_are_means_of_its_seeds(
    table: ReferenceTable, rows: list[BuiltRow]
) -> None:
    assert table.default_target == "accuracy"
    for row, accuracy in zip(rows, table.accuracies["accuracy"], strict=True):
        assert accuracy == pytest.approx(statistics.fmean(row.accuracies), abs=6e-4)
        assert all(5 < value < 100 for value in row.accuracies)  # chance is 5


def test_its_noise_ceiling_is_that_of_its_seeds(
    table: ReferenceTable, rows: list[BuiltRow]
) -> None:
    ceiling = table.target().noise_ceiling
    assert ceiling == pytest.approx(noise_ceiling(rows), abs=5e-5)
    assert ceiling is not None
    assert not math.isnan(ceiling)
