"""``asvit reference build`` and its progress, on small settings."""

import re
from pathlib import Path
from typing import Any

import pytest

from asvit.reference import load_reference
from asvit.runs.reference import BuildRun
from tests.asvit.cli.commands import RUNS, run, strict
from tests.asvit.runs import fakes

pytestmark = pytest.mark.usefixtures("quick_figures")

BUILD = RUNS["reference build"]


def test_the_rows_of_the_result(finished: Any) -> None:
    folder, result = finished("reference build")
    data = strict(result.stdout)
    assert set(data["rows"][0]) == {"architecture", "params", "macs", "accuracy", "accuracies"}
    assert data["next_command"] == f"asvit correlate --reference {folder / 'table.csv'}"


def test_the_table_is_one_that_correlate_takes(finished: Any) -> None:
    table = load_reference(finished("reference build")[0] / "table.csv")
    assert len(table) == 5
    assert table.num_classes == 3
    assert table.image_sizes == (32,) * 5


def test_build_tells_people_on_stderr(finished: Any) -> None:
    lines = finished("reference build")[1].stderr.splitlines()
    lines = lines[lines[0] == "preparing 72 images" :]  # unless another test has made them
    assert lines[:1] == [
        "training 5 architectures of asvit, 2 seed(s) each: 2 steps of 8 images, fractal:3, "
        "32 px, C=16, seed 0",
    ]
    assert (
        sum(
            line.startswith("training ") and "/10  " in line and "  ETA " in line for line in lines
        )
        == 10
    )
    assert "noise ceiling: tau between two training seeds" in finished("reference build")[1].stderr
    assert lines[-1].startswith("next:   asvit correlate --reference ")


def test_flags_survive_in_the_command() -> None:
    made = BuildRun.make(flip=True, n=3, out="x y", device="cpu", jobs=2)
    assert made.command_line() == "asvit reference build --n 3 --flip --out 'x y'"


def test_the_state_says_what_a_training_ended_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fakes.fake_trainings(monkeypatch.setattr)
    lines = run(*BUILD, "--out", tmp_path / "run").stderr.splitlines()
    told = [line.partition("ETA ")[2] for line in lines if line.startswith("training ")][1:]
    assert len(told) == 10
    assert all(
        re.search(r" seed [01]: (\d+(\.\d+)? %|the loss became nan in step 1)$", line)
        for line in told
    )
    assert any("nan" in line for line in told)
