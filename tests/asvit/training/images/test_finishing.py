"""A device finishes batches as workers do, from pixels and in parts. The CPU stands for a GPU."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from asvit.data import FractalDataset, open_training_sets
from asvit.training.images import finishing, loaders, order
from asvit.training.images.augmentation import Augmentation
from asvit.training.images.loaders import Batching, train_loader
from tests.asvit.data.array_sets import make_set
from tests.asvit.training.images.test_loaders import (
    PLAIN,
    Numbered,
    epoch,
    equal,
    training,
    validating,
)

CPU = torch.device("cpu")
AUGMENTED = [
    Augmentation(),
    Augmentation(erasing=1.0, mixup=0.0, cutmix=0.0),
    Augmentation(cutmix=0.0, repeats=3),
    Augmentation(mixup=0.0, erasing=0.0),
]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "PART", 3)


@pytest.fixture(scope="module")
def fractals() -> FractalDataset:
    return FractalDataset(4, 7, 16)


@pytest.mark.parametrize(
    ("augmentation", "workers"), [*((one, 0) for one in AUGMENTED), (AUGMENTED[0], 2)]
)
def test_batches_are_those_of_workers_alone(
    fractals: FractalDataset, augmentation: Augmentation, workers: int
) -> None:
    options: dict[str, Any] = {"augmentation": augmentation, "label_smoothing": 0.1}
    loader = training(fractals, **options, device=CPU, workers=workers)
    for number in range(2):
        assert equal(epoch(loader, number), epoch(training(fractals, **options), number))
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_and_shares_of_processes_are_those_of_workers_alone(
    fractals: FractalDataset, workers: int
) -> None:
    for make in (training, validating):
        whole = make(fractals, rank=1, world=2)
        loader = make(fractals, rank=1, world=2, device=CPU, workers=workers)
        assert equal(epoch(loader), epoch(whole))
        loader.close()


def test_arrays_are_mixed_on_the_device(tmp_path: Path) -> None:
    sets = open_training_sets(str(make_set(tmp_path / "set", 5)), image_size=16, seed=0)
    options: dict[str, Any] = {
        "image_size": 16,
        "batch_size": 8,
        **dict.fromkeys(("mean", "std"), (1.0,) * 5),
    }
    expected = [*train_loader(sets.train, Batching(**options))]
    loader = train_loader(sets.train, Batching(**options, device=CPU, workers=1))
    assert equal([*loader], expected)
    loader.close()


def test_workers_hand_on_small_parts_of_pixels(fractals: FractalDataset) -> None:
    loader = training(fractals, device=CPU, workers=1)
    for plan, parts in loader.prepared():
        assert [len(part.images) for part in parts] == [3, 3, 2]
        assert {part.images.dtype for part in parts} == {torch.uint8}
        assert sum(len(part.indices) for part in plan.parts) == len(plan.indices)
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_counted_or_stop(workers: int) -> None:
    options: dict[str, Any] = {"augmentation": PLAIN, "device": CPU, "workers": workers}
    images = Numbered(24, unreadable=(5, 9))
    loader = training(images, replace_bad=True, **options)
    epoch(loader)
    assert loader.bad == {"5.jpg": 1, "9.jpg": 1}
    loader.close()
    loader = training(images, **options)
    with pytest.raises(ValueError, match=r"cannot read image '[59]\.jpg': it is truncated"):
        list(loader)
    loader.close()


def test_memory_for_copies_is_pinned_on_cuda_alone(
    fractals: FractalDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = list[bool]()

    def opened(*_given: object, pin_memory: bool, **_more: object) -> None:
        pinned.append(pin_memory)

    monkeypatch.setattr(loaders, "DataLoader", opened)
    for device in (None, CPU, torch.device("cuda")):
        training(fractals, device=device)
    assert pinned == [False, False, True]


def test_a_stream_of_its_own_finishes_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens in which order; the step of a batch is queued before the next one is made."""
    said = list[str]()

    class Recorded:
        def __init__(self, number: int) -> None:
            self.number = number

        def record_stream(self, stream: object) -> None:
            said.append(f"{stream} keeps {self.number}")

    class Current:
        def wait_stream(self, stream: object) -> None:
            said.append(f"{self} waits for {stream}")

        def __str__(self) -> str:
            return "main"

    class Side:
        device = torch.device("cuda:1")

        def __str__(self) -> str:
            return "side"

    def batches() -> Iterator[Any]:
        for number in range(2):
            said.append(f"make {number}")
            yield (Recorded(number),)

    current = Current()
    cuda = SimpleNamespace(
        stream=lambda _stream: nullcontext(), current_stream=lambda _device: current
    )
    monkeypatch.setattr(finishing.torch, "cuda", cuda)
    for (batch,) in finishing.ahead(batches(), Side()):
        said.append(f"step {batch.number}")
    each = ["make {0}", "main waits for side", "main keeps {0}", "step {0}"]
    assert said == [line.format(number) for number in range(2) for line in each]


def test_all_epochs_have_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stream has memory of its own: a new one in each epoch would fill a GPU."""
    monkeypatch.setattr(finishing.torch.cuda, "Stream", lambda _device: object())
    norms = {"shift": torch.zeros(1), "scale": torch.ones(1)}
    finish = finishing.Finish(device=torch.device("cuda"), seed=0, **norms)
    assert finish.stream is finish.stream is not None


def test_batches_of_other_devices_need_no_stream() -> None:
    batches = [(torch.zeros(1), torch.ones(1))]
    same: list[tuple[Tensor, Tensor]] = [*finishing.ahead(iter(batches), None)]
    assert same[0][0] is batches[0][0]
