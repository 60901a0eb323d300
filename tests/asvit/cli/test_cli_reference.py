"""``asvit reference build`` and its progress, on small settings."""

import re
from pathlib import Path
from typing import Any

import pytest

from asvit.reference import load_reference
from asvit.reference import trainer as reference_trainer
from asvit.reference.build import Outcome, Training
from asvit.runs.reference import BuildRun
from tests.asvit.cli.commands import RUNS, check_refused, run, strict
from tests.asvit.runs import fakes

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
    assert "noise ceiling, tau between two seeds" in finished("reference build")[1].stderr
    assert lines[-1].startswith("next:   asvit correlate --reference ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n", "1"], "1 is not in the range x>=2"),
        (["--space", "asvitt"], "unknown space 'asvitt'; did you mean 'asvit'?"),
        (["--preset", "quik"], "unknown preset 'quik'; did you mean 'quick'?"),
        (["--learning-rate", "0"], "learning_rate must be a number above 0, got 0.0"),
        (["--jobs", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(words: list[str], message: str) -> None:
    check_refused(run(*BUILD, *words), 2, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image-size", "48"], "image 48 px"),
        (["--data", "gaussian"], "two classes or more; standard normal noise, seed 0 has one"),
        (["--data", "digits", "--train-images", "1790"], "1822 images are needed, but there are"),
        (["--data", "./none"], "no folder './none'; give a folder of images"),
        (["--device", "cpu,nowhere"], "device 'nowhere' is not available"),
        (["--width", "4"], "use a width C of at least"),
        (["--n", "385", "--space", "asvit-tiny"], "space 'asvit-tiny' has 384 architectures"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_exit_code_3(
    tmp_path: Path, words: list[str], message: str
) -> None:
    check_refused(run(*BUILD, *words, "--out", tmp_path / "run"), 3, message)
    assert not (tmp_path / "run").exists()


def test_flags_survive_in_the_command() -> None:
    made = BuildRun.make(flip=True, n=3, out="x y", device="cpu", jobs=2)
    assert made.command_line() == "asvit reference build --n 3 --flip --out 'x y'"


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = 0

    class Interrupted(reference_trainer.Trainer):
        def __call__(self, training: Training) -> Outcome:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise KeyboardInterrupt
            return super().__call__(training)

    monkeypatch.setattr(reference_trainer, "Trainer", Interrupted)
    words = [*BUILD, "--out", str(tmp_path / "run"), "--fresh"]
    result = run(*words)
    assert result.exit_code == 130
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("stopped ")]
    assert line.startswith("stopped after training 1 of 10; to go on: asvit reference build --pre")
    assert "--fresh" not in line


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
