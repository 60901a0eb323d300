"""Studies compute their cases, at their smallest, and their tables have a line for each level."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from run_script import table_cells

from asvit.runs import reporting
from experiments import compare_retokenization, predictor_table
from experiments.study import cases

TINY = "4,8,2|2,4,2|2,2,2|2,1,2|16"
TABLE = {"reference": ["asvit-fractal"], "target": ["accuracy"], "trainings": [12]}
RETOKENIZED = {
    "SEED": f"{TINY},8",
    "EPOCHS": 3,
    "SETTINGS": compare_retokenization.SETTINGS
    | {"train_images": 20, "validation_images": 10, "batch_size": 10, "device": "cpu"},
}


@pytest.mark.parametrize(
    ("module", "levels", "first", "changes"),
    [
        (
            compare_retokenization,
            {"seed": [0]},
            ["plain", "re-tokenized", "plain, same multiply-adds"],
            RETOKENIZED,
        ),
        pytest.param(
            *(predictor_table, TABLE, ["asvit-fractal, accuracy"], {}), marks=pytest.mark.nightly
        ),
    ],
)
def test_a_study_computes_its_cases_and_makes_its_table(
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    levels: Mapping[str, Any],
    first: list[str],
    changes: Mapping[str, Any],
) -> None:
    monkeypatch.setattr(reporting, "write_report", lambda *_: None)
    whole = module.STUDY
    every = {name: dict.fromkeys(case[name] for case in whole.cases) for name in whole.cases[0]}
    few = replace(whole, table=Path("rows.csv"), cases=cases(**{**every, **levels}))
    monkeypatch.setattr(module, "STUDY", few)
    for name, value in changes.items():
        monkeypatch.setattr(module, name, value)
    assert len(few.run()) == len(few.cases)
    table = module.table("count") if module is predictor_table else module.table()
    assert [name for name, *_ in table_cells(table)[2:]] == first
