"""Measures of single architectures from Python: as ``asvit score`` gives them."""

import math

import numpy as np
import pytest
from torch import nn

import asvit
from asvit.core.progress import Progress
from proxies import measure

SMALL = {"image_size": 32, "repeats": 1, "images": 2, "points": 3, "data": "gaussian"}
SEED = "4,8,2|2,4,2|2,2,2|2,1,2|16"
OTHER = "8,8,2|2,4,2|2,2,4|2,1,2|16"


def test_rows_are_as_measured_one_by_one() -> None:
    told: list[Progress] = []
    names = ["length_distortion", "ntk_condition_number", "params"]
    found = asvit.score(
        [SEED, asvit.Genotype.parse(OTHER), SEED], names, progress=told.append, **SMALL
    )
    assert [row.architecture for row in found] == [SEED, OTHER]
    assert [one.done for one in told if one.unit == "architecture"] == [0, 1, 2]
    alone = measure(lambda: asvit.build(SEED, image_size=32), ["params"], image_size=32, repeats=1)
    assert found[0].scores["params"] == alone["params"]
    assert found[0].values["length_distortion"] > 0
    assert (
        repr(found) == "Scores(2 architectures; length_distortion, ntk_condition_number, params)"
    )
    frame = found.to_dataframe()
    assert list(frame.columns) == ["architecture", *names, "reason"]
    assert frame.params.tolist() == [row.values["params"] for row in found]


def test_architectures_may_be_a_column_of_a_table_or_come_one_by_one() -> None:
    for given in (np.array([SEED, OTHER]), (text for text in (SEED, OTHER))):
        found = asvit.score(given, "params", **SMALL)
        assert [row.architecture for row in found] == [SEED, OTHER]


def test_no_architecture_is_a_table_without_rows() -> None:
    table = asvit.score([], ["params", "macs"], **SMALL)
    assert repr(table[:]) == "Scores(0 architectures; params, macs)"
    assert list(table.to_dataframe().columns) == ["architecture", "params", "macs", "reason"]


def test_a_module_is_refused_by_its_class() -> None:
    with pytest.raises(ValueError, match="Identity is not an architecture; use a Genotype, its"):
        asvit.score(nn.Identity(), "params", **SMALL)


def test_one_architecture_and_a_measure_that_fails() -> None:
    scores = asvit.score("timm:vgg11", "dss", **SMALL)
    (row,) = scores
    assert math.isnan(row.values["dss"])
    assert row.reason.startswith("dss: ")
    assert scores.to_dataframe().reason.tolist() == [row.reason]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"proxies": "zic"}, ValueError, "did you mean 'zico'"),
        ({"image_sise": 32}, TypeError, "did you mean 'image_size'"),
        ({"image_size": 5}, ValueError, "5 px"),
    ],
)
def test_what_does_not_suit_is_named(
    given: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        asvit.score(SEED, **{"proxies": "params", **SMALL, **given})
