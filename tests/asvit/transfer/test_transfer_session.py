"""The training of any task: losses, checkpoints, resuming, what stops it."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from asvit.core.progress import Progress, ignore
from asvit.training import checkpoint, epochs
from asvit.training.checkpoint import Checkpoint, Origin, read_or_restore
from asvit.training.distributed import ProcessGroup
from asvit.transfer.datasets import Sample
from asvit.transfer.session import Session, Task
from asvit.transfer.settings import TransferRow, TransferSettings
from tests.asvit.runs.fakes import stop_after, stop_at
from tests.host_reads import HostReads, read_seldom

SETTINGS = TransferSettings(
    architecture="none", data="none", image_size=32, epochs=3, batch_size=2, learning_rate=0.05,
    weight_decay=0.01, warmup=1, drop_path=0.0, clip=1.0, seed=5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _every_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "_SPACING", 0)


@dataclass(frozen=True, kw_only=True)
class FitRow(TransferRow):
    loss_square: float
    loss_size: float
    weight: float


class Points(Dataset[Sample]):
    digest = "0"

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Sample:
        if index == 7:
            raise ValueError("point 7 cannot be read")
        return torch.tensor([float(index), 1.0]), torch.tensor([2.0 * index - 1.0])


class Line(nn.Module):
    """A line through points, with dropout and statistics of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.map = nn.Linear(2, 1)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        gap = self.map(self.drop(self.norm(x))) - wanted
        return {"loss_square": gap.square().mean(), "loss_size": 0.1 * gap.abs().mean()}


def shaken(x: Tensor, wanted: Any) -> Sample:
    return x + 0.01 * torch.rand(2), wanted


class Fit(Task[TransferSettings]):
    def __init__(self, settings: TransferSettings) -> None:
        super().__init__(settings)
        torch.manual_seed(3)
        self.model = Line()
        self.images = self.validation = Points()
        self.indices, self.transform, self.classes = range(1, 7), shaken, 1

    def batch(self, images: list[Tensor], targets: list[Any], device: torch.device) -> Any:
        return torch.stack(images).to(device), torch.stack(targets).to(device)

    def decay(self, step: int, steps: int) -> float:
        return 1 - step / steps

    def evaluate(self, processes: ProcessGroup, batches: Any) -> dict[str, float]:
        points = [image for images, _ in batches for image in images]
        assert [image.tolist() for image in points] == [[index, 1.0] for index in range(7)]
        self.model.eval()
        return {"weight": float(self.model.map.weight.detach()[0, 0])}

    def predict(self, images: Tensor, annotations: Any, device: torch.device) -> Any:
        raise NotImplementedError

    def compare(self, found: Any, annotation: Any, device: torch.device) -> None:
        raise NotImplementedError

    def draw(self, image: Tensor, annotation: Any) -> Tensor:
        return image

    def drawing(self, device: torch.device) -> bytes:
        return b"a picture"


class Stop(Exception):
    pass


def read(folder: str) -> Checkpoint | None:
    def made(path: Path) -> Checkpoint:
        return Checkpoint.read(path, kind="fit", settings=TransferSettings, row=FitRow)

    return read_or_restore(Path(folder) / "fit.safetensors", made)


def run(
    folder: str,
    settings: TransferSettings = SETTINGS,
    tell: Callable[[Progress], None] = ignore,
    task: Callable[[TransferSettings], Fit] = Fit,
    device: str = "cpu",
    world: int = 1,
    rank: int = 0,
    **options: Any,
) -> list[dict[str, Any]]:
    Path(folder).mkdir(exist_ok=True)
    stored = read(folder)
    origin = Origin(settings, {"source": "points", "digest": "0"}, (), "cpu", (), {})
    processes = ProcessGroup("cpu")
    processes.device, processes.world, processes.rank = torch.device(device), world, rank
    session = Session(
        folder=Path(folder),
        origin=origin,
        processes=processes,
        stored=stored,
        file="fit.safetensors",
        kind="fit",
        task=task(settings),
        row_type=FitRow,
        **options,
    )
    session.run(tell)
    return [vars(replace(row, seconds=0.0)) for row in session.history]


def weights(folder: str) -> Mapping[str, Tensor]:
    found = read(folder)
    return found.state.weights


def test_losses_fall_and_every_epoch_is_told_and_kept() -> None:
    told: list[Progress] = []
    history = run("run", replace(SETTINGS, epochs=30), told.append)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [{**line, "seconds": 0.0} for line in lines] == history
    assert [line["epoch"] for line in lines] == [*range(1, 31)]
    for line in lines:
        assert line["loss"] == pytest.approx(line["loss_square"] + line["loss_size"], rel=1e-5)
    assert lines[0]["learning_rate"] == pytest.approx(0.05 * (1 - 2 / 90))
    assert [one.share for one in told] == pytest.approx([step / 90 for step in range(1, 91)])
    assert [one.done for one in told if one.record] == [*range(1, 31)]
    assert told[-1].state.startswith(f"loss {lines[-1]['loss']:.4g}  weight ")
    assert Path("run/predictions.jpg").read_bytes() == b"a picture"


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_stopped_training_goes_on_to_the_same_bits(epoch: int) -> None:
    expected = run("whole")
    with pytest.raises(Stop):
        run("stopped", tell=stop_after(epoch, Stop))
    assert len(Path("stopped/metrics.jsonl").read_text().splitlines()) == epoch
    torch.rand(3)  # another process would be elsewhere in its random numbers
    Path("stopped/metrics.csv").unlink()
    assert run("stopped") == expected
    whole, stopped = weights("whole"), weights("stopped")
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())
    assert len(Path("stopped/metrics.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("count", range(2, 9))
def test_a_training_stopped_within_an_epoch_goes_on_at_the_update(count: int) -> None:
    expected = run("whole", log_every=2)
    with pytest.raises(Stop):
        run("stopped", tell=stop_at(count, Stop), checkpoint_minutes=1e-9, log_every=2)
    kept = read("stopped")
    done = len(kept.history) * 3 + (0 if kept.part is None else kept.part.updates)
    assert done == count - (count % 3 != 0)
    told: list[Progress] = []
    assert run("stopped", tell=told.append, log_every=2) == expected
    assert told[0].share_resumed == pytest.approx(done / 9)
    whole, stopped = weights("whole"), weights("stopped")
    assert all(torch.equal(tensor, stopped[name]) for name, tensor in whole.items())
    rows = [
        [line.rpartition(",")[0] for line in Path(folder, "metrics_steps.csv").read_text().split()]
        for folder in ("whole", "stopped")
    ]
    assert rows[0] == rows[1]
    assert [row.partition(",")[0] for row in rows[0][1:]] == ["2", "4", "6", "8"]


def test_the_first_process_alone_removes_rows_of_updates() -> None:
    def stopped(count: int, rank: int) -> list[str]:
        with pytest.raises(Stop):
            run("run", tell=stop_at(count, Stop), log_every=1, rank=rank)
        return path.read_text().splitlines()

    path = Path("run/metrics_steps.csv")
    rows = stopped(2, 0)  # before a checkpoint
    assert len(rows) > 1
    assert stopped(1, 1) == rows
    run("run", log_every=0)
    assert path.read_text().splitlines() == rows[:1]


def test_a_damaged_checkpoint_is_replaced_by_the_one_before() -> None:
    expected = run("whole")
    with pytest.raises(Stop):
        run("run", tell=stop_after(2, Stop))
    Path("run/fit.safetensors").write_bytes(b"nothing")
    assert run("run") == expected


def test_workers_give_the_same_and_a_finished_training_is_not_done_again() -> None:
    expected = run("run")
    assert run("workers", workers=2) == expected
    before = Path("run/fit.safetensors").stat().st_mtime_ns
    assert run("run") == expected
    assert Path("run/fit.safetensors").stat().st_mtime_ns == before
    assert run("other", replace(SETTINGS, seed=6))[0]["loss"] != expected[0]["loss"]


def test_what_others_draw_is_not_disturbed() -> None:
    torch.manual_seed(9)
    expected = torch.rand(2)
    torch.manual_seed(9)

    class Later(Fit):
        def __init__(self, settings: TransferSettings) -> None:
            super().__init__(settings)
            torch.manual_seed(9)

    run("run", task=Later)
    assert torch.equal(torch.rand(2), expected)


def test_a_full_disk_leaves_the_last_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, written, calls = run("whole"), checkpoint.write_tensors, list[Path]()

    def full(path: Path, *given: Any, **named: Any) -> None:
        if calls:
            raise OSError(28, "No space left on device", str(path))
        calls.append(path)
        written(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_tensors", full)
        with pytest.raises(OSError, match=r"No space left.*keeping epoch 2; what was kept before"):
            run("full")
    assert len(Path("full/metrics.jsonl").read_text().splitlines()) == 1
    assert run("full") == expected


@pytest.mark.parametrize("rate", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint(rate: float) -> None:
    class Bursting(Fit):
        def decay(self, step: int, steps: int) -> float:
            return rate if step == 3 else 1.0

    with pytest.raises(ValueError, match=r"the loss became .*in step 5 of 9; use a lower"):
        run("run", task=Bursting)
    assert all(tensor.isfinite().all() for tensor in weights("run").values())


def many(settings: TransferSettings, steps: int) -> Fit:
    task = Fit(settings)
    task.indices = list(task.indices) * (steps // 3)
    return task


def test_an_accelerator_is_waited_for_only_where_losses_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_seldom(monkeypatch, every=3)
    reads = []
    for steps in (3, 9):
        folder, task = f"of {steps}", partial(many, steps=steps)
        with HostReads() as host:
            run(folder, replace(SETTINGS, epochs=1), task=task, device="meta")
        reads.append(host.reads)
    assert reads[1] - reads[0] == 2


def test_a_training_is_the_same_however_often_its_losses_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once: list[Progress] = []
    later: list[Progress] = []
    make = partial(many, steps=9)
    expected = run("at once", tell=at_once.append, task=make, log_every=1)
    read_seldom(monkeypatch, every=4)
    assert run("later", tell=later.append, task=make, log_every=1) == expected
    whole, other = weights("at once"), weights("later")
    assert all(torch.equal(tensor, other[name]) for name, tensor in whole.items())
    rows = [
        [line.rpartition(",")[0] for line in Path(folder, "metrics_steps.csv").read_text().split()]
        for folder in ("at once", "later")
    ]
    assert rows[0] == rows[1]
    assert (len(at_once), len(later)) == (27, 9)


def test_a_loss_that_is_not_finite_is_told_of_the_step_that_had_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Bursting(Fit):
        def __init__(self, settings: TransferSettings) -> None:
            super().__init__(settings)
            self.indices = [*range(1, 7)] * 3

        def decay(self, step: int, steps: int) -> float:
            return math.nan if step == 12 else 1.0

    read_seldom(monkeypatch, every=4)
    with pytest.raises(ValueError, match=r"the loss became nan in step 14 of 27; use a lower"):
        run("run", task=Bursting)


def test_weights_that_are_not_finite_are_not_kept() -> None:
    class Late(Fit):
        def decay(self, step: int, steps: int) -> float:
            return math.nan if step == 5 else 1.0  # the last of the second epoch

    with pytest.raises(ValueError, match="after epoch 2 the weights are infinite or NaN"):
        run("run", task=Late)
    assert all(tensor.isfinite().all() for tensor in weights("run").values())


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_an_error_in_one_line(workers: int) -> None:
    class Bad(Fit):
        def __init__(self, settings: TransferSettings) -> None:
            super().__init__(settings)
            self.indices = range(6, 8)

    with pytest.raises(ValueError, match=r"^point 7 cannot be read$"):
        run("run", task=Bad, workers=workers)


def test_batches_that_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"a batch of 8 images.* points; use --batch-size 6"):
        run("run", replace(SETTINGS, batch_size=8))


def test_processes_with_fewer_images_than_the_model_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fit, "least_images", 2)
    line = "each of 2 processes has 1 of a batch of 2 images, and the model needs 2; use --batch-"
    with pytest.raises(ValueError, match=f"^{line}size 4 or more$"):
        run("a", world=2)


def test_frozen_weights_stay() -> None:
    class Frozen(Fit):
        def __init__(self, settings: TransferSettings) -> None:
            super().__init__(settings)
            self.model.map.bias.requires_grad_(False)

    run("run", task=Frozen)
    fresh, trained = Fit(SETTINGS).model.state_dict(), weights("run")
    assert torch.equal(trained["map.bias"], fresh["map.bias"])
    assert not torch.equal(trained["map.weight"], fresh["map.weight"])


def test_convolutions_that_bfloat16_gets_wrong_on_a_cpu_are_exact_in_it() -> None:
    stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    class WithStem(Fit):
        def __init__(self, settings: TransferSettings) -> None:
            super().__init__(settings)
            self.model.stem = stem

    run("run", replace(SETTINGS, epochs=1), task=WithStem)
    with torch.autocast("cpu", torch.bfloat16):
        small, large = (stem(torch.ones(1, 3, side, side)).dtype for side in (3, 8))
    assert (small, large) == (torch.float32, torch.bfloat16)
