"""``asvit reference build`` and its progress, on small settings."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asvit.cli.app import app
from asvit.reference import load_reference
from asvit.reference import trainer as reference_trainer
from asvit.reference.journal import Outcome, Training
from asvit.runs.reference import BuildRun
from tests.asvit.runs import fakes

SMALL = [
    "--preset", "quick", "--n", "5", "--classes", "3", "--train-images", "40",
    "--test-images", "32", "--steps", "2", "--batch-size", "8", "--device", "cpu",
]  # fmt: skip
BUILD = ["reference", "build", *SMALL]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("reference") / "run"
    return folder, run(*BUILD, "--out", folder, "--json")


def test_build_gives_its_result_as_json(built: tuple[Path, Result]) -> None:
    folder, result = built
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    assert set(data) == {
        "folder", "schema_version", "kind", "space", "table", "noise_ceiling", "reachable",
        "spread", "rows",
        "failures", "num_classes", "wall_seconds", "training_seconds", "settings", "images",
        "device", "versions", "command", "next_command",
    }  # fmt: skip
    assert set(data["rows"][0]) == {"architecture", "params", "macs", "accuracy", "accuracies"}
    assert data["next_command"] == f"asvit correlate --reference {folder / 'table.csv'}"
    stored = json.loads((folder / "result.json").read_text())
    assert stored | {"folder": str(folder)} == data


def test_the_table_is_one_that_correlate_takes(built: tuple[Path, Result]) -> None:
    table = load_reference(built[0] / "table.csv")
    assert len(table) == 5
    assert table.num_classes == 3
    assert table.image_sizes == (32,) * 5


def test_build_tells_people_on_stderr(built: tuple[Path, Result]) -> None:
    lines = built[1].stderr.splitlines()
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
    assert "noise ceiling, tau between two seeds" in built[1].stderr
    assert lines[-1].startswith("next:   asvit correlate --reference ")


def test_a_finished_table_is_shown_again(built: tuple[Path, Result]) -> None:
    before = (built[0] / "table.csv").read_bytes()
    result = run(*BUILD, "--out", built[0])
    assert result.exit_code == 0
    assert result.stderr == "this reference table had finished before; --fresh starts it over\n"
    assert "The best 5 of 5 architectures" in result.stdout
    assert (built[0] / "table.csv").read_bytes() == before


def test_the_command_in_the_result_gives_the_run_again(built: tuple[Path, Result]) -> None:
    command = json.loads((built[0] / "result.json").read_text())["command"].split()
    assert command[:3] == ["asvit", "reference", "build"]
    result = run(*command[1:])
    assert result.exit_code == 0
    assert "had finished before" in result.stderr


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
    result = run(*BUILD, *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


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
    result = run(*BUILD, *words, "--out", tmp_path / "run")
    assert result.exit_code == 3
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


def test_the_group_alone_shows_what_it_has() -> None:
    result = run("reference")
    assert result.exit_code == 2
    assert "build" in result.stderr


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
