"""The script that compares precisions."""

import math

import pytest
from run_script import Script, read_rows

from experiments import compare_precision
from experiments.compare_precision import Row, best, swapped, table


def test_pairs_in_another_order_are_counted() -> None:
    assert swapped([1, 2, 3], [10, 20, 30]) == 0
    assert swapped([1, 2, 3], [3, 2, 1]) == 1
    assert swapped([1, 2, 3], [2, 1, 3]) == pytest.approx(1 / 3)
    assert swapped([1, 1, 3], [2, 1, 3]) == 0  # a tie has no order to lose


def rows() -> list[Row]:
    nan = math.nan
    return [
        Row("a", "length_distortion", 1.0, 2.0, 1.01, nan),
        Row("a", "ntk_condition_number", 9.0, 7.0, 9.0, nan),
        Row("b", "length_distortion", 3.0, 1.0, 3.0, nan),
        Row("b", "ntk_condition_number", 5.0, 8.0, nan, nan),
    ]


def test_the_table_has_what_is_known() -> None:
    lines = table(rows()).splitlines()[2:]
    assert lines == [
        "| length_distortion | other seed | -1.0000 | 100.00% | 83.33% | 100.00% | 0 |",
        "| length_distortion | bfloat16 | 1.0000 | 0.00% | 0.50% | 1.00% | 0 |",
        "| ntk_condition_number | other seed | -1.0000 | 100.00% | 41.11% | 60.00% | 0 |",
    ]


def test_the_best_is_that_of_both_measures_and_a_failure_loses() -> None:
    assert best(rows()) == "float32 b, other seed a, bfloat16 b"


def test_the_script_measures_in_both_precisions(script: Script) -> None:
    words = "--architectures 2 --space asvit-tiny --image-size 32 --images 3 --device cpu"
    assert "| length_distortion | bfloat16 |" in script(compare_precision.main, words)
    found = read_rows("runs/precision/precision.csv")
    assert len(found) == 4
    for row in found:
        assert row["tf32"] == "nan"
        exact, low = float(row["float32"]), float(row["bfloat16"])
        assert low != exact, "the precision did not reach the measure"
        assert low == pytest.approx(exact, rel=0.05)
