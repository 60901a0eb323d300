"""The training of any task in a folder: checkpoints, resuming, the log, and what stops it."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asvit.core.progress import Progress, ignore
from asvit.training import checkpoint, session
from asvit.training.checkpoint import Checkpoint, Origin, read_checkpoint
from asvit.training.distributed import ProcessGroup
from asvit.training.optimizers import Schedule
from asvit.training.session import Session
from asvit.training.trainer import EpochResult, Task
from asvit.transfer.settings import TransferSettings
from tests.asvit.runs.fakes import stop_at
from tests.host_reads import read_seldom

EPOCHS, STEPS = 3, 3
RATE = 0.05
FILE, KIND = "fit.safetensors", "fit"


@pytest.fixture
def _every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every epoch, however short."""
    monkeypatch.setattr(session, "_SPACING", 0)


each_epoch = pytest.mark.usefixtures("_every_epoch")


@dataclass(frozen=True)
class FitRow:
    epoch: int
    seconds: float
    loss: float
    size: float
    weight: float


class Line(nn.Module):
    """A line through points, with dropout and statistics of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.map = nn.Linear(2, 1)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(self.drop(self.norm(x)))


class Fit(Task[FitRow]):
    """Fits a line to points that every epoch orders anew."""

    batch_size = 2
    learning_rate = RATE
    clip = 1.0

    def __init__(self, steps: int = STEPS, *, seed: int = 5) -> None:
        torch.manual_seed(3)
        self.network, self.steps, self.seed = Line(), steps, seed
        self.device = torch.device("cpu")
        self.closed = 0

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(100 * self.seed + epoch)
        points = torch.randperm(2 * self.steps, generator=generator).view(-1, 2, 1).float()
        for x in points[start:]:
            inputs = torch.cat([x, torch.ones(2, 1)], 1)
            yield inputs.to(self.device), (2 * x - 1).to(self.device)

    def losses(
        self, network: nn.Module, x: Tensor, wanted: Tensor
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        gap = network(x) - wanted
        return gap.square().mean(), {"size": gap.abs().mean()}

    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), lr=RATE)

    def schedule(self, epochs: int) -> Callable[[int], float]:
        return Schedule(RATE, epochs * self.steps, decay=lambda done: 1 - done)

    def evaluate(self) -> float:
        return float(self.network.map.weight.detach()[0, 0])

    def row(self, epoch: int, result: EpochResult, metrics: float, seconds: float) -> FitRow:
        size = result.sums["size"] / self.steps
        return FitRow(epoch + 1, 0.0, result.loss, size, metrics)

    def state(self, row: FitRow) -> str:
        return f"weight {row.weight:.4g}"

    def close(self) -> None:
        self.closed += 1


class Stop(Exception):
    pass


def read(folder: str) -> Checkpoint | None:
    return read_checkpoint(Path(folder) / FILE, kind=KIND, settings=TransferSettings, row=FitRow)


def run(
    folder: str,
    tell: Callable[[Progress], None] = ignore,
    *,
    task: Fit | None = None,
    epochs: int = EPOCHS,
    rank: int = 0,
    **options: Any,
) -> list[FitRow]:
    Path(folder).mkdir(exist_ok=True)
    settings = TransferSettings(architecture="none", data="none", epochs=epochs)
    task, processes = task or Fit(), ProcessGroup("cpu")
    processes.device, processes.rank = task.device, rank
    training = Session(
        folder=Path(folder),
        task=task,
        origin=Origin(settings, {"source": "points", "digest": "0"}, ()),
        processes=processes,
        stored=read(folder),
        file=FILE,
        kind=KIND,
        **options,
    )
    training.run(tell)
    assert task.closed
    return training.history


def check_same(ours: str, theirs: str) -> None:
    """Two folders have the same weights."""
    one, other = (read(folder).state.weights for folder in (ours, theirs))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@each_epoch
def test_losses_fall_and_every_epoch_is_told_and_recorded() -> None:
    told: list[Progress] = []
    history = run("run", told.append, epochs=30)
    assert history[-1].loss < 0.5 * history[0].loss
    with Path("run/metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines == [{name: str(cell) for name, cell in vars(row).items()} for row in history]
    assert [line["epoch"] for line in lines] == [str(epoch) for epoch in range(1, 31)]
    assert [one.share for one in told] == pytest.approx([step / 90 for step in range(1, 91)])
    assert [one.record for one in told if one.record] == history
    assert told[0].state.startswith("step 1/3 of epoch 1  loss ")
    assert f"weight {history[-1].weight:.4g}" in told[-1].state


@each_epoch
@pytest.mark.parametrize("count", range(1, 9))
def test_a_training_goes_on_at_any_update_to_the_same_bits(count: int) -> None:
    expected = run("whole")
    options: dict[str, Any] = {"checkpoint_minutes": 1e-9}
    with pytest.raises(Stop):
        run("stopped", stop_at(count, Stop), **options)
    kept = read("stopped")
    done = 0
    if kept is not None:
        done = len(kept.history) * STEPS + (0 if kept.part is None else len(kept.part.losses))
    assert done == count - (count % STEPS != 0)
    torch.rand(3)  # another process would be elsewhere in its random numbers
    for path in Path("stopped").glob("metrics.*"):
        path.unlink()
    told: list[Progress] = []
    assert run("stopped", told.append) == expected
    assert told[0].share_resumed == pytest.approx(done / (EPOCHS * STEPS))
    check_same("stopped", "whole")
    assert len(Path("stopped/metrics.csv").read_text().splitlines()) == 1 + EPOCHS


@each_epoch
def test_a_full_disk_leaves_the_last_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, written, calls = run("whole"), checkpoint.write_tensors, list[Path]()

    def full(path: Path, *given: Any, **named: Any) -> None:
        if calls:
            raise OSError(28, "No space left on device", str(path))
        calls.append(path)
        written(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_tensors", full)
        with pytest.raises(OSError, match=r"No space left.*goes on from the checkpoint before"):
            run("full")
    assert len(Path("full/metrics.csv").read_text().splitlines()) == 1 + 1
    assert run("full") == expected


@each_epoch
@pytest.mark.parametrize("rate", [math.inf, math.nan])
@pytest.mark.parametrize("often", [True, False])
@pytest.mark.parametrize(
    ("bad", "message"),
    [(3, "the loss became .* in epoch 2, step 2; use a lower learning rate than 0.05"),
     (5, "after epoch 2, step 3 the weights are infinite or NaN, as in 'norm.weight'; use")],
)  # fmt: skip
def test_a_training_that_diverges_stops_and_leaves_the_last_checkpoint(
    rate: float, often: bool, bad: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Fit, "schedule", lambda _self, _epochs: lambda update: rate if update == bad else 0.01
    )
    if not often:
        read_seldom(monkeypatch, every=2)
    with pytest.raises(ValueError, match=message):
        run("run")
    assert all(tensor.isfinite().all() for tensor in read("run").state.weights.values())


class Timed(Session[int]):
    """Epochs of a second each; notes which of them checkpoints keep."""

    def __init__(self, number: int, best: int | None = None, minutes: float = 0.0) -> None:
        origin: Any = SimpleNamespace(settings=SimpleNamespace(epochs=number))
        super().__init__(
            folder=Path(), task=Fit(), origin=origin, processes=ProcessGroup("cpu"),
            checkpoint_minutes=minutes,
        )  # fmt: skip
        self.kept, self._best = list[int](), best

    def _epoch(self, epoch: int, *_given: object) -> Any:
        session.time.sleep(1)
        return epoch, SimpleNamespace(epoch=epoch, steps=1, done=1, loss=0, images_per_second=1)

    @property
    def best(self) -> int | None:
        return self._best

    def write_outputs(self) -> None:
        self.kept.append(self.history[-1])

    def kept_until(self, stop: int | None = None) -> list[int]:
        """The epochs that are kept of a training that is stopped after one."""

        def tell(progress: Progress) -> None:
            if progress.done - 1 == stop:
                raise Stop

        try:
            self.run(tell)
        except Stop:
            assert stop is not None
        return self.kept


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that writing a checkpoint takes, which can be changed."""
    now, seconds = [100.0], [0.01]

    def wait(passed: float) -> None:
        now[0] += passed

    class Written:
        def __init__(self, *_: object) -> None: ...

        def write(self, *_given: object) -> None:
            wait(seconds[0])

    monkeypatch.setattr(session.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(session.time, "sleep", wait)
    monkeypatch.setattr(session, "Checkpoint", Written)
    monkeypatch.setattr(Fit, "state", lambda _self, _row: "")
    return seconds


@pytest.mark.parametrize(
    ("seconds", "epochs", "options", "kept"),
    [
        (0.03125, 5, {}, [0, 1, 2, 3, 4]),
        (0.125, 9, {}, [0, 3, 6, 8]),  # two and a half epochs
        (0.125, 9, {"best": 4}, [0, 3, 4, 7, 8]),
        (8.0, 200, {}, [0, 160, 199]),
        (8.0, 200, {"minutes": 1}, [0, 60, 120, 180, 199]),
    ],
)
def test_short_epochs_are_kept_together_and_the_last_and_the_best_ones_always(
    seconds: float, epochs: int, options: dict[str, Any], kept: list[int], writing: list[float]
) -> None:
    writing[0] = seconds
    assert Timed(epochs, **options).kept_until() == kept
