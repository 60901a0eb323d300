"""Studies compute their cases, at their smallest, and their tables have a line for each level."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from run_script import table_cells

import asvit
from asvit.growth.settings import ScaleSettings
from asvit.reference import load_reference
from asvit.runs import lifecycle
from asvit.search.settings import SearchSettings
from experiments import (
    compare_controllers,
    compare_heads,
    compare_precision,
    compare_published,
    compare_retokenization,
    compare_scalings,
    predictor_rivals,
    predictor_table,
    study_kernels,
    study_latency,
    study_rejection,
    study_stem,
)
from experiments.study import cases

QUICK = {"image_size": 32, "repeats": 1, "images": 2, "points": 3, "data": "gaussian"}
TINY = "4,8,2|2,4,2|2,2,2|2,1,2|16"
FAMILY = {
    "Small": "4,8,2|2,4,2|2,2,2|2,1,2|16,36",
    "Base": "4,8,2|2,4,2|2,2,2|2,1,2|16,40",
    "Large": "4,8,2,2|2,4,2,1|2,2,2,1|2,1,2,1|16,44",
}


@dataclass(frozen=True)
class Small:
    """A study at its smallest.

    Attributes:
        module: Its script.
        levels: Column -> levels to compute; the others have all of theirs.
        first: The first cells of the lines of its table.
        changes: Constants of the module -> values for the test.
        table: Arguments of the function of the table.
    """

    module: ModuleType
    levels: Mapping[str, Any]
    first: tuple[str, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)
    table: tuple[str, ...] = ()


SMALL = (
    Small(compare_controllers, {"seed": [0]}, ("random", "reinforce"), {"STEPS": 4, "WINDOW": 2}),
    Small(compare_heads, {"seed": [0]}, tuple(compare_heads.PARTS), {"STEPS": 2}),
    Small(
        compare_precision,
        {"number": range(2)},
        ("L^E", "L^E", "κ_Θ", "κ_Θ"),
        {"SIDE": 32, "IMAGES": 3},
    ),
    Small(
        compare_published,
        {"multiple": [1], "seed": [0]},
        ("Small", "Base", "Large"),
        {"SEED": TINY, "PUBLISHED": FAMILY},
    ),
    Small(
        compare_retokenization,
        {"seed": [0]},
        ("plain", "re-tokenized", "plain, same multiply-adds"),
        {
            "SEED": f"{TINY},8",
            "EPOCHS": 3,
            "SETTINGS": compare_retokenization.SETTINGS
            | {"train_images": 20, "validation_images": 10, "batch_size": 10, "device": "cpu"},
        },
    ),
    Small(
        compare_scalings,
        {"budget": ["1.4M"], "seed": [0]},
        ("growth", "random growth", "compound", "width"),
        {"SEED": TINY, "BUDGETS": ("1.4M", "1.6M"), "MOST_BLOCKS": 16},
    ),
    Small(
        predictor_rivals,
        {"reference": ["asvit-fractal"], "model": ["Gaussian process", "ridge"]},
        ("Gaussian process", "ridge"),
        {"SPLITS": 1},
    ),
    Small(
        predictor_table,
        {"reference": ["asvit-fractal"], "target": ["accuracy"], "trainings": [12]},
        ("asvit-fractal, accuracy",),
        table=("count",),
    ),
    Small(
        study_kernels,
        {
            "reference": ["asvit-fractal"],
            "architecture": load_reference("asvit-fractal").architectures[:3],
            "repeat": [0],
        },
        tuple(study_kernels.MEASURES.values()),
        {"IMAGES": 3},
    ),
    Small(
        study_latency,
        {"architecture": [TINY, "timm:resnet10t", "timm:resnet18"]},
        ("milliseconds", "relative"),
        {"SIDE": 32},
    ),
    Small(
        study_rejection,
        {"share": [0.5], "seed": [0, 1]},
        ("50%",),
        {"STEPS": 3, "UNIFORM": 200},
    ),
    Small(study_stem, {"architecture": [TINY]}, ("L^E", "κ_Θ")),
)


#: Whose calls others make as well, or that time networks.
SLOW = (compare_heads, compare_published, predictor_table, study_latency)


@pytest.mark.parametrize(
    "small",
    [pytest.param(one, marks=[pytest.mark.nightly] * (one.module in SLOW)) for one in SMALL],
    ids=lambda small: small.module.__name__.split(".")[-1],
)
def test_a_study_computes_its_cases_and_makes_its_table(
    monkeypatch: pytest.MonkeyPatch, small: Small
) -> None:
    monkeypatch.setattr("asvit.measuring.timing._SECONDS", 0.0)
    monkeypatch.setattr(lifecycle, "write_report", lambda *_: None)
    monkeypatch.setitem(SearchSettings.presets, "quick", {**QUICK, "recheck": 1})
    monkeypatch.setitem(ScaleSettings.presets, "quick", QUICK)
    whole = small.module.STUDY
    levels = {
        name: list(dict.fromkeys(case[name] for case in whole.cases)) for name in whole.cases[0]
    }
    few = replace(whole, table=Path("rows.csv"), cases=cases(**{**levels, **small.levels}))
    monkeypatch.setattr(small.module, "STUDY", few)
    for name, value in small.changes.items():
        monkeypatch.setattr(small.module, name, value)
    assert len(few.run()) == len(few.cases)
    lines = table_cells(small.module.table(*small.table))[2:]
    assert tuple(name for name, *_ in lines) == small.first


def test_the_stem_alone_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    monkeypatch.setattr(study_stem, "arguments", dict)
    monkeypatch.setattr(study_stem, "DEFAULT_MEASURES", ())
    monkeypatch.setattr(study_stem, "measure", lambda *_, key: measured.append(key))
    study_stem.compare("8,2,3|4,1,2|4,1,4|4,1,6|32", 5)
    assert measured == ["5,2,3|4,1,2|4,1,4|4,1,6|32"]


def test_below_a_limit_draws_are_repeated_or_count_as_the_worst(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study_rejection, "STEPS", 20)
    space, limit, _ = study_rejection.limited(0.5)
    for drawn in islice(space.below(math.inf, np.random.default_rng(3)), 5):
        assert space.params(drawn) == asvit.cost(space.text(drawn), 32, 20).params
    assert all(
        space.params(drawn) <= limit
        for drawn in islice(space.below(limit, np.random.default_rng(0)), 20)
    )
    again: Any = study_rejection.learn(0.5, study_rejection.AGAIN, 0)
    worst: Any = study_rejection.learn(0.5, study_rejection.WORST, 0)
    assert again["uniform"] == worst["uniform"] == 0
    assert 0 < worst["within_first"] < 100
    monkeypatch.setattr(study_rejection, "MOST", 1)
    few: Any = study_rejection.learn(0.5, study_rejection.AGAIN, 0)
    assert 0 < few["uniform"] < 100


def test_shares_within_a_limit_are_those_of_all_draws() -> None:
    steps = [(1, True), (9, True), (10, False)]  # draws, the last of which is within or not
    assert study_rejection._within(steps) == 10


def test_a_kernel_of_projections_is_the_product_of_its_gradients() -> None:
    model, images = (
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 5)),
        torch.randn(4, 3, 1, 1),
    )
    kernel = study_kernels._kernel(model, images, torch.Generator().manual_seed(1))
    directions = torch.randn(
        study_kernels.PROJECTIONS, 5, generator=torch.Generator().manual_seed(1)
    )
    flat = images.flatten(1).double()  # the gradient of r·Wx is the outer product of r and x
    torch.testing.assert_close(kernel, directions.double().square().sum() * flat @ flat.T)
