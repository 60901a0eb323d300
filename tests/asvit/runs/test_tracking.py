"""What ``--track`` tells trackers.

TensorBoard is real; a fake stands for others.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
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

    @property
    def tracker(self) -> Any:
        return None

    def start(self) -> None:
        self._fail("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = dict(values)

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self._fail("log")
        self.told.append((dict(values), step))

    def finish(self) -> None:
        self.finished = True
        self._fail("finish")

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
def test_a_run_is_named_after_its_folder(
    tmp_path: Path, fake: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder = fake(name).made, tmp_path / "run"
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    with tracking(name, folder, SETTINGS):
        pass
    assert made[-1].project == ("mine" if name == "wandb" else "asvit")
    assert (
        made[-1].given
        == {
            "wandb": {"name": "run", "dir": str(folder)},
            "mlflow": {"run_name": "run", "nested_run": True},
            "other": {},
        }[name]
    )


@pytest.mark.parametrize("where", ["log", "finish"])
def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(
    tmp_path: Path, fake: Any, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing, other = fake("failing"), fake("other")
    failing.fails = where
    with tracking("failing,other", tmp_path, SETTINGS) as track:
        track("epoch", Row(0.5), 1)
        track("epoch", Row(0.5), 2)
    assert caplog.text.count("failing failed (no account); the run goes on without it") == 1
    assert [step for _, step in other.made[0].told] == [1, 2]
    assert other.made[0].finished


def test_those_that_have_started_are_finished_where_another_does_not_start(
    tmp_path: Path, fake: Any
) -> None:
    other, failing = fake("other"), fake("failing")
    failing.fails = "start"
    with (
        pytest.raises(ValueError, match=r"--track failing does not start: no account$"),
        tracking("other,failing", tmp_path, SETTINGS),
    ):
        pass
    assert other.made[0].finished


def test_a_stopped_training_is_in_tensorboard(tmp_path: Path) -> None:
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
    assert "batch_size: 8" in hyperparameters[0].read_text()
