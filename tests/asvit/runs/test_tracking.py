"""What ``--track`` tells trackers, of runs that are stopped and go on, too.

TensorBoard and, where it is installed, MLflow are real; a fake stands for wandb and others.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from accelerate import tracking as accelerate_tracking

from asvit.runs.tracking import tracking
from asvit.runs.training import run_training
from asvit.training.settings import TrainSettings
from tests.asvit.runs.fakes import stop_at
from tests.asvit.runs.test_runs_train import ARCH, TINY

SETTINGS = TrainSettings.make(architecture=ARCH, teacher=None)
STEPS = 3  # updates of an epoch of TINY


@dataclass(frozen=True)
class Row:
    """A row with what trackers take, and what they do not."""

    loss: float
    epoch: int = 1
    missing: float | None = None
    text: str = "words"
    lost: float = float("nan")
    good: bool = True
    values: Any = field(default_factory=lambda: {"kappa": 2.0, "note": "x"})


NUMBERS = {"epoch/loss": 0.5, "epoch/epoch": 1, "epoch/kappa": 2.0}


class Fake(accelerate_tracking.GeneralTracker):
    """Notes what it is told; a class for each name."""

    requires_logging_directory = False
    main_process_only = False
    made: ClassVar[list["Fake"]]
    fails: ClassVar[str] = ""

    def __init__(self, project: str, **given: Any) -> None:
        super().__init__()
        self.project, self.given = project, given
        self.config: dict[str, Any] = {}
        self.told: list[tuple[dict[str, Any], int | None]] = []
        self.finished = False
        self.made.append(self)

    def start(self) -> None:
        self._fail("start")

    @property
    def tracker(self) -> Any:
        return SimpleNamespace(info=SimpleNamespace(run_id=self.given.get("run_id") or "r1"))

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = dict(values)

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self._fail("log")
        self.told.append((dict(values), step))

    def finish(self) -> None:
        self.finished = True

    def _fail(self, where: str) -> None:
        if self.fails == where:
            raise RuntimeError("no account\nsee the page")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type[Fake]]:
    """Registers a fake tracker with accelerate, in place of the one of its name if there is."""

    def register(name: str) -> type[Fake]:
        kind = type("Fake", (Fake,), {"name": name, "made": []})
        monkeypatch.setitem(accelerate_tracking.LOGGER_TYPE_TO_CLASS, name, kind)
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
        return kind

    return register


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module)
    found = accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    names = found.Tags()["scalars"]
    return {name: [(one.step, one.value) for one in found.Scalars(name)] for name in names}


def about(*pairs: tuple[int, float]) -> Any:
    """As 32-bit floats have it."""
    return [(step, pytest.approx(value)) for step, value in pairs]


def test_numbers_of_a_row_are_told_and_nothing_else(tmp_path: Path, fake: Any) -> None:
    made = fake("other").made
    with tracking("other", tmp_path, SETTINGS) as track:
        track("epoch", Row(0.5), 7)
        track("step", Row(0.25), 8)
    (one,) = made
    assert (one.project, one.finished) == ("asvit", True)
    assert one.told[0] == (NUMBERS, 7)
    assert one.told[1] == ({"step/loss": 0.25, "step/epoch": 1, "step/kappa": 2.0}, 8)
    assert one.config["epochs"] == 300
    assert one.config["teacher"] == "None"
    assert all(isinstance(value, bool | int | float | str) for value in one.config.values())


def test_no_tracker_makes_no_file(tmp_path: Path) -> None:
    with tracking("", tmp_path, SETTINGS) as track:
        track("epoch", Row(0.5), 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["wandb", "mlflow", "other"])
def test_a_run_that_goes_on_is_the_same_run_and_no_row_is_told_twice(
    tmp_path: Path, fake: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fake(name).made
    folder = tmp_path / "run"
    folder.mkdir()
    with tracking(name, folder, SETTINGS) as track:
        track("step", Row(1.0), 1)
        track("step", Row(2.0), 2)
        track("epoch", Row(2.0), 2)
    with tracking(name, folder, SETTINGS) as track:
        for number in (1, 2, 3):  # the first two are from what earlier sessions left
            track("step", Row(float(number)), number)
        track("epoch", Row(2.0), 2)
        track("epoch", Row(4.0), 4)
    first, second = made
    assert first.finished
    assert [(values.get("step/loss"), step) for values, step in second.told] == [
        (3.0, 3), (None, 4)
    ]  # fmt: skip
    assert second.config == {}  # that of the run is there already
    if name == "wandb":
        assert first.given == second.given
        assert first.given == {
            "id": first.given["id"], "name": "run", "dir": str(folder), "resume": "allow"
        }  # fmt: skip
        assert len(first.given["id"]) == 8
    if name == "mlflow":
        assert (first.given["run_id"], second.given["run_id"]) == (None, "r1")
        assert first.given["run_name"] == "run"
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    with tracking(name, tmp_path, SETTINGS):
        pass
    assert made[-1].project == ("mine" if name == "wandb" else "asvit")


def test_a_stopped_training_is_in_tensorboard_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    given = {**TINY, "track": "tensorboard"}
    how = {"checkpoint_minutes": 1e-9, "progress": stop_at(6)}  # images, then updates
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, out=folder, **how, **given)
    result = run_training(ARCH, out=folder, **given)
    found = events(folder)
    for name in ("train_loss", "loss", "top1", "learning_rate"):
        rows = [(row.epoch * STEPS, getattr(row, name)) for row in result.history]
        assert found[f"epoch/{name}"] == about(*rows)
    assert "epoch/balanced" not in found
    hyperparameters = list((folder / "tensorboard").glob("*/hparams.yml"))
    assert len(hyperparameters) == 1
    assert "batch_size: 8" in hyperparameters[0].read_text()


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library with a store in a file."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'store'}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    library = importlib.import_module("mlflow")
    library.set_tracking_uri(f"file:{tmp_path / 'store'}")
    yield library
    library.set_tracking_uri(None)
