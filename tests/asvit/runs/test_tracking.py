"""What ``--track`` tells trackers, of runs that are stopped and go on, too.

TensorBoard and, where it is installed, MLflow are real; a fake stands for wandb and others.
"""

import errno
import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from accelerate import tracking as accelerate_tracking

from asvit.core.progress import Progress
from asvit.core.run_files import TRACKED
from asvit.core.settings import WrongOption
from asvit.runs.designing import DesignRun
from asvit.runs.search import SearchRun, run_search
from asvit.runs.tracking import event_files, forget, tracking
from asvit.runs.training import run_training
from asvit.search.rows import read_trials
from asvit.training.settings import TrainSettings
from tests.asvit.cli.commands import check_refused, run
from tests.asvit.runs.fakes import fake_evaluate, stop_at
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


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"other": 3}', b'{"other": {"run": 1, "numbers": {"a": "x"}}}']
)
def test_what_is_no_record_of_trackers_begins_anew(
    tmp_path: Path, fake: Any, content: bytes
) -> None:
    made = fake("other").made
    (tmp_path / ".tracked.json").write_bytes(content)
    with tracking("other", tmp_path, SETTINGS) as track:
        track("epoch", Row(0.5), 1)
    assert made[0].told == [(NUMBERS, 1)]
    assert json.loads((tmp_path / ".tracked.json").read_text())["other"]["numbers"] == {"epoch": 1}


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(
    tmp_path: Path, fake: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = fake("bad"), fake("good")
    bad.fails = "log"
    with tracking("bad,good", tmp_path, SETTINGS) as track:
        track("epoch", Row(0.5), 1)
        track("epoch", Row(0.5), 2)
    assert [step for _, step in good.made[0].told] == [1, 2]
    (line,) = caplog.messages
    assert line == "bad failed (no account); the run goes on without it"


def test_a_tracker_that_does_not_start_is_one_line_and_what_began_ends(
    tmp_path: Path, fake: Any
) -> None:
    good, bad = fake("good"), fake("wandb")
    bad.fails = "start"
    with (
        pytest.raises(ValueError, match=r"^--track wandb does not start: no account$"),
        tracking("good,wandb", tmp_path, SETTINGS),
    ):
        pass
    assert good.made[0].finished


def test_a_full_disk_is_no_fault_of_a_tracker(
    tmp_path: Path, fake: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake("other")
    with tracking("other", tmp_path, SETTINGS) as track:

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("asvit.runs.tracking.write_bytes", full)
            track("epoch", Row(0.5), 1)
    assert "the run goes on without it" in caplog.text


NEEDS = "--track wandb needs wandb: pip install wandb"


@pytest.mark.parametrize(
    ("command", "names", "code", "reason"),
    [
        ("train", "tensorbord", 2, "unknown tracker 'tensorbord'; did you mean 'tensorboard'?"),
        ("train", "tensorboard,wandc", 2, "unknown tracker 'wandc'"),
        *((command, "wandb", 3, NEEDS) for command in ("train", "search")),
        ("train", "mlflow", 3, "--track mlflow needs mlflow: pip install mlflow"),
        ("train", "tensorboard", 3, "needs tensorboard: in the checkout of asvit, pip"),
    ],
)
def test_trackers_that_are_not_there_are_one_line_and_nothing_is_made(
    command: str, names: str, code: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wandb", "mlflow", *["tensorboard"] * (code == 3)):
        monkeypatch.setitem(sys.modules, name, None)
    words = [*command.split(), *([ARCH] if command == "train" else [])]
    words += ["--data", "digits", "--device", "cpu", "--out", "run", "--track", names]
    check_refused(run(*words), code, reason)
    assert not Path("run").exists()


def test_a_stopped_training_is_in_tensorboard_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    given = {**TINY, "track": "tensorboard", "log_every": 2}
    how = {"checkpoint_minutes": 1e-9, "progress": stop_at(6)}  # images, then updates
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, out=folder, **how, **given)
    result = run_training(ARCH, out=folder, **given)
    found = events(folder)
    for name in ("train_loss", "loss", "top1", "learning_rate"):
        rows = [(row.epoch * STEPS, getattr(row, name)) for row in result.history]
        assert found[f"epoch/{name}"] == about(*rows)
    lines = (folder / "metrics_steps.csv").read_text().splitlines()[1:]
    assert [step for step, _ in found["step/loss"]] == [2, 4, 6]
    for number, name in ((2, "loss"), (3, "learning_rate"), (4, "images_per_second")):
        cells = [line.split(",") for line in lines]
        rows = [(int(row[0]), float(row[number])) for row in cells]
        assert found[f"step/{name}"] == about(*rows)
    assert "epoch/average_top1" not in found
    hyperparameters = list((folder / "tensorboard").glob("*/hparams.yml"))
    assert len(hyperparameters) == 1
    assert "batch_size: 8" in hyperparameters[0].read_text()


def test_starting_over_is_another_run(tmp_path: Path, fake: Any) -> None:
    made = fake("wandb").made
    given = {**TINY, "epochs": 1, "track": "wandb,tensorboard", "out": tmp_path / "run"}
    run_training(ARCH, **given)
    run_training(ARCH, fresh=True, **given)
    first, second = made
    assert first.given["id"] != second.given["id"]
    assert [step for _, step in first.told] == [step for _, step in second.told] == [STEPS]
    assert [step for step, _ in events(tmp_path / "run")["epoch/loss"]] == [STEPS]
    place = tmp_path / "run" / "tensorboard"
    assert len(list(place.glob("*/hparams.yml"))) == 1
    run_training(ARCH, fresh=True, **{**given, "track": ""})
    assert not [path for path in place.rglob("*") if path.is_file()]


@pytest.mark.parametrize("between", ["", "wandb,tensorboard"])
def test_a_training_that_lost_its_start_is_another_run(
    tmp_path: Path, fake: Any, between: str
) -> None:
    def stop(progress: Progress) -> None:
        if progress.unit == "epoch":  # of which there is no checkpoint yet
            raise KeyboardInterrupt

    runs = fake("wandb").made
    options = {**TINY, "epochs": 1, "track": "wandb,tensorboard", "log_every": 1}
    stopped = {"out": tmp_path / "run", "progress": stop}
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, **stopped, **options)
    assert runs[0].told
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, **stopped, **{**options, "track": between})
    run_training(ARCH, out=tmp_path / "run", seed=5, **options)
    assert runs[-1].given["id"] != runs[0].given["id"]
    assert runs[-1].config["seed"] == 5
    assert [step for values, step in runs[-1].told if "step/loss" in values] == [1, 2, 3]
    assert [step for step, _ in events(tmp_path / "run")["step/loss"]] == [1, 2, 3]
    (hyperparameters,) = (tmp_path / "run" / "tensorboard").glob("*/hparams.yml")
    assert "seed: 5" in hyperparameters.read_text()


@pytest.mark.parametrize("names", [["wandb"], ["wandb", "tensorboard"]])
def test_events_are_forgotten_if_the_run_has_told_tensorboard(
    tmp_path: Path, names: list[str]
) -> None:
    file = tmp_path / "tensorboard" / "events.out.tfevents.1"
    file.parent.mkdir()
    file.touch()
    record = {name: {"run": "run", "numbers": {}} for name in names}
    (tmp_path / TRACKED).write_text(json.dumps(record))
    forget(tmp_path)
    assert not (tmp_path / TRACKED).exists()
    assert file.exists() == ("tensorboard" not in names)


def test_settings_that_a_killed_start_has_told_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    kind = accelerate_tracking.LOGGER_TYPE_TO_CLASS["tensorboard"]
    tell = kind.store_init_configuration

    def killed(*arguments: Any) -> None:
        tell(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, "store_init_configuration", killed)
        with pytest.raises(KeyboardInterrupt), tracking("tensorboard", tmp_path, SETTINGS):
            pass
    assert len(list(tmp_path.glob("tensorboard/*/hparams.yml"))) == 1
    with tracking("tensorboard", tmp_path, SETTINGS):
        pass
    assert len(list(tmp_path.glob("tensorboard/*/hparams.yml"))) == 1


@pytest.mark.parametrize("names", ["tensorboard", "other,tensorboard"])
def test_events_of_somebody_else_stay(tmp_path: Path, fake: Any, names: str) -> None:
    pytest.importorskip("tensorboard")
    fake("other")
    theirs = tmp_path / "tensorboard" / "events.out.tfevents.1"
    theirs.parent.mkdir()
    theirs.touch()
    reason = r"has tensorboard/events\.out\.tfevents\.1, but not \.tracked\.json, .* move tensorb"
    with pytest.raises(ValueError, match=reason), tracking(names, tmp_path, SETTINGS):
        pass
    assert [path for path in theirs.parent.rglob("*") if path.is_file()] == [theirs]


def test_events_that_a_link_leads_to_are_not_those_of_a_run(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "run" / "tensorboard", tmp_path / "elsewhere"
    for folder in (place / "own", elsewhere):
        folder.mkdir(parents=True)
        (folder / "events.out.tfevents.1").touch()
    (place / "link").symlink_to(elsewhere)
    assert event_files(tmp_path / "run") == ["tensorboard/own/events.out.tfevents.1"]
    place.rename(elsewhere / "place")
    place.symlink_to(elsewhere / "place")
    assert event_files(tmp_path / "run") == ()


def test_starting_over_removes_events_of_a_run_that_was_tracked(tmp_path: Path) -> None:
    file = tmp_path / "tensorboard" / "events.out.tfevents.1"
    file.parent.mkdir()
    file.touch()
    search = SearchRun.make(out=tmp_path)
    assert not search.other_files(tmp_path)  # it is the user's own
    (tmp_path / TRACKED).touch()
    assert search.other_files(tmp_path) == ["tensorboard/events.out.tfevents.1"]


def test_a_tracker_that_comes_later_gets_what_was_before(tmp_path: Path, fake: Any) -> None:
    made = fake("other").made
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, out=folder, progress=stop_at(6), log_every=1, **TINY)
    run_training(ARCH, out=folder, track="other", log_every=1, **TINY)
    (one,) = made
    steps = [step for values, step in one.told if "step/loss" in values]
    epochs = [step for values, step in one.told if "epoch/loss" in values]
    assert (steps, epochs) == ([1, 2, 3, 4, 5, 6], [3, 6])
    numbers = [step for _, step in one.told]
    assert numbers == sorted(numbers)  # wandb takes no other order


def test_a_search_tells_the_values_of_every_trial(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    given: dict[str, Any] = {
        "space": "asvit-tiny", "steps": 12, "image_size": 32, "evaluate": fake_evaluate,
        "track": "tensorboard", "out": folder, "recheck": 1,
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        run_search(progress=stop_at(5), **given)
    run_search(**given)
    found, rows = events(folder), read_trials(folder / "trials.csv")
    assert len(rows) == 12
    for name in ("length_distortion", "ntk_condition_number"):
        values = [(row.number + 1, row.values[name]) for row in rows]
        assert found[f"trial/{name}"] == about(*(one for one in values if math.isfinite(one[1])))
    assert found["trial/params"] == about(*((row.number + 1, row.params) for row in rows))


def test_a_design_tracks_the_runs_of_its_stages(tmp_path: Path, fake: Any) -> None:
    made = fake("other")
    one: Any = DesignRun.make(data="digits", max_params="1M", out=tmp_path / "run", track="other")
    one._journal = None
    assert one._stage_options("search")["track"] == "other"
    for track, words in (("another", "unknown tracker 'another'"), (["other"], "in one text")):
        with pytest.raises(WrongOption, match=words):
            DesignRun.make(data="digits", max_params="1M", track=track)
    stage = tmp_path / "run" / "search"
    stage.mkdir(parents=True)
    (tmp_path / "run" / ".kind").write_text("design\n")
    fake("wandb")
    with tracking("wandb,other", stage, SETTINGS):
        pass
    wandb = accelerate_tracking.LOGGER_TYPE_TO_CLASS["wandb"].made[0]
    assert wandb.given["name"] == "run/search"
    assert made.made[0].finished


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


def check_in_mlflow(library: Any, result: Any) -> None:
    client = library.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'asvit'")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["epochs"] == "2"
    for name, rows in (
        ("epoch/loss", [(row.epoch * STEPS, row.loss) for row in result.history]),
        ("step/loss", None),
    ):
        told = [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, name)]
        assert told == rows if rows else [step for step, _ in told] == [1, 2, 3, 4, 5, 6]


@pytest.mark.filterwarnings("ignore")
def test_a_stopped_training_is_one_run_of_mlflow(tmp_path: Path, mlflow: Any) -> None:
    given = {**TINY, "track": "mlflow", "log_every": 1, "out": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        run_training(ARCH, checkpoint_minutes=1e-9, progress=stop_at(6), **given)
    check_in_mlflow(mlflow, run_training(ARCH, **given))
