"""Batches are the same for a seed and an epoch, however many processes make them."""

import os
import pickle
import random
import signal
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform
from torch import Tensor

from asvit.data import FractalDataset, LabelledImages
from asvit.training.augmentation import Augmentation, PictureTransform, Statistics
from asvit.training.loaders import (
    Batching,
    Loader,
    batch_share,
    derive_seed,
    epoch_order,
    preserved_random_state,
    seed_all,
    train_loader,
    validation_loader,
)

HALF = (0.5, 0.5, 0.5)
SIZE = 16
Batches = list[tuple[Tensor, Tensor]]


class Plain(Augmentation):
    """Only cuts the middle out."""

    def train_transform(
        self, image_size: int, *, mean: Statistics, **_: object
    ) -> PictureTransform:
        transform: PictureTransform = create_transform(
            image_size, is_training=True, no_aug=True, mean=mean, use_prefetcher=True
        )
        return transform


PLAIN = Plain(erasing=0.0, mixup=0.0, cutmix=0.0)


class Numbered(LabelledImages):
    """Image i is all grey level i; some cannot be read. If uneven, most are of the first class."""

    def __init__(
        self,
        count: int,
        *,
        unreadable: tuple[int, ...] = (),
        classes: int = 4,
        uneven: bool = False,
    ) -> None:
        labels = np.arange(count) % classes
        if uneven:
            labels[2 * classes :] = 0
        super().__init__("numbered images", tuple(map(str, range(classes))), labels)
        self.unreadable = unreadable

    def picture(self, index: int) -> Image.Image:
        if index in self.unreadable:
            raise ValueError(f"cannot read image '{index}.jpg': it is truncated")
        return Image.new("RGB", (SIZE, SIZE), (index, index, index))

    def name(self, index: int) -> str:
        return f"{index}.jpg"


BATCHING = Batching(image_size=SIZE, batch_size=8, seed=3, mean=HALF, std=HALF)


#: Of whole batches, in memory.
TOGETHER = Augmentation(auto_augment="none", crop_scale=0.5, shift=2)
THREE_TOGETHER = replace(TOGETHER, repeats=3)


def training(images: LabelledImages, **given: Any) -> Any:
    return train_loader(images, replace(BATCHING, **given))


@pytest.fixture(autouse=True, params=[0, 2**31], ids=["read", "in memory"])
def most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets to validate on are read again and again, or decoded into memory."""
    monkeypatch.setattr("asvit.data.cache.MOST", request.param)


def validating(images: LabelledImages, **given: Any) -> Loader:
    given = {"augmentation": Augmentation(crop_pct=1.0), **given}
    return validation_loader(images, replace(BATCHING, **given))


def epoch(loader: Loader, number: int = 0) -> Batches:
    loader.set_epoch(number)
    batches = list(loader)
    assert len(batches) == len(loader)
    return batches


def equal(some: Batches, others: Batches) -> bool:
    return len(some) == len(others) and all(
        torch.equal(x, u) and torch.equal(y, v)
        for (x, y), (u, v) in zip(some, others, strict=True)
    )


def greys(images: Tensor) -> list[int]:
    """Numbers of the images of a plain batch."""
    assert (images == images[:, :1, :1, :1]).all()
    return ((images[:, 0, 0, 0] * 0.5 + 0.5) * 255).round().int().tolist()


@pytest.fixture(scope="module")
def fractals() -> FractalDataset:
    return FractalDataset(4, 7, SIZE)


def test_shapes_and_label_smoothing(fractals: FractalDataset) -> None:
    batches = epoch(training(fractals))
    assert len(batches) == 3  # of 28 images
    for images, targets in batches:
        assert (images.shape, images.dtype) == ((8, 3, SIZE, SIZE), torch.float32)
        assert (targets.shape, targets.dtype) == ((8, 4), torch.float32)
        assert images.device.type == "cpu"
        assert images.is_contiguous()
    (_, targets), *_ = epoch(training(fractals, label_smoothing=0.2))
    assert targets.min() == pytest.approx(0.05)  # by hand
    assert targets.sum(1).tolist() == pytest.approx([1] * 8)
    (_, labels), *_ = epoch(training(fractals, augmentation=Augmentation(mixup=0, cutmix=0)))
    assert (labels.shape, labels.dtype) == ((8,), torch.int64)


@pytest.mark.parametrize("images", [FractalDataset(4, 7, SIZE), Numbered(24)])
def test_any_number_of_workers_gives_the_same_epochs(images: LabelledImages) -> None:
    """Workers persist; a fresh loader is as an old one."""
    alone = training(images)
    first, fourth = epoch(alone, 0), epoch(alone, 4)
    assert not equal(first, fourth)
    for workers in (0, 1, 2):
        loader = training(images, workers=workers)
        next(iter(loader))  # an epoch that is not finished has no effect
        assert equal(epoch(loader, 4), fourth)
        assert equal(epoch(loader, 0), first)
    assert not equal(epoch(training(images, seed=4), 0), first)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(), Augmentation(repeats=3), TOGETHER, THREE_TOGETHER],
)
@pytest.mark.parametrize("world", [2, 4])
def test_any_number_of_processes_gives_the_same_batches(
    fractals: FractalDataset, world: int, augmentation: Augmentation, balanced: bool
) -> None:
    """Mixed images and targets, too: the same images meet."""
    images = Numbered(40, uneven=True) if balanced else fractals
    how = {"balanced": balanced, "augmentation": augmentation, "label_smoothing": 0.1}
    whole = epoch(training(images, **how), 1)
    for rank in range(world):
        part = epoch(training(images, **how, rank=rank, world=world), 1)
        places = torch.from_numpy(batch_share(8, rank, world))
        assert equal(part, [(images[places], targets[places]) for images, targets in whole])


def send(loader: Loader, number: signal.Signals, *, workers: int = 1) -> list[int]:
    """Send a signal to some of the workers; returns the process ids of all."""
    processes = [worker.pid for worker in loader._workers._iterator._workers]
    for process in processes[:workers]:
        os.kill(process, number)
    return processes


def test_a_worker_that_is_lost_is_an_error_that_names_the_loader(
    fractals: FractalDataset,
) -> None:
    loader = training(fractals, workers=2)
    epoch(loader)
    processes = send(loader, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match=r"DataLoader worker"):
        epoch(loader)
    loader.close()
    assert not any(Path("/proc", str(process)).exists() for process in processes)


def test_the_global_generators_are_left_alone(fractals: FractalDataset) -> None:
    with preserved_random_state():
        expected = drawn()
    for workers in (0, 1):
        epoch(training(fractals, workers=workers))
        epoch(validating(fractals, workers=workers))
    assert drawn() == expected


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 10), st.integers(1, 5))
def test_validation_covers_every_image_once(count: int, batch_size: int, world: int) -> None:
    seen = []
    for rank in range(world):
        loader = validating(Numbered(count), batch_size=batch_size, rank=rank, world=world)
        for images, labels in epoch(loader):
            assert 1 <= len(images) <= -(-batch_size // world)
            assert labels.tolist() == [number % 4 for number in greys(images)]
            seen += greys(images)
    assert sorted(seen) == list(range(count))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_stops_training(workers: int) -> None:
    loader = training(Numbered(24, unreadable=(5,)), workers=workers)
    message = r"^cannot read image '5.jpg': it is truncated; repair or remove it, or give --bad-"
    with pytest.raises(ValueError, match=message):
        list(loader)
    with pytest.raises(ValueError, match=r"5.jpg"):  # and again, with the same workers
        list(loader)


def test_an_error_of_the_augmentation_is_not_a_bad_image() -> None:
    def broken(picture: Image.Image) -> Tensor:
        raise ValueError("cannot posterize")

    loader = training(Numbered(8))
    object.__setattr__(loader._batches, "transform", broken)
    with pytest.raises(ValueError, match="cannot posterize"):
        list(loader)


def test_batches_survive_pickling() -> None:
    """As workers that are not forks need it."""
    loader = training(FractalDataset(4, 2, SIZE))
    copy = pickle.loads(pickle.dumps(loader._batches))
    step = loader._epoch[0]
    assert torch.equal(copy[step].images, loader._batches[step].images)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 7, "world": 2}, "a batch of 7 images does not go into 2 processes"),
        ({"batch_size": 6, "world": 2}, "mixup and CutMix take pairs .* use a multiple of 4"),
        ({"batch_size": 32}, "a batch of 32 images is more than there are to train on: numbered"),
    ],
)
def test_wrong_arguments(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training(Numbered(24), **given)


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 4), st.integers(0, 9))
def test_an_epoch_deals_each_image_with_all_its_copies(
    count: int, batch_size: int, copies: int, seed: int
) -> None:
    indices, numbers = epoch_order(count, batch_size, copies=copies, seed=seed)
    assert indices.shape == numbers.shape == (count // batch_size, batch_size)
    dealt = list(zip(indices.flatten().tolist(), numbers.flatten().tolist(), strict=True))
    assert len(set(dealt)) == len(dealt)
    times = np.unique(indices, return_counts=True)[1].tolist()
    assert sum(number < copies for number in times) <= 1  # only the last image may be cut short
    assert set(numbers.flatten().tolist()) <= set(range(copies))


def test_balanced_epochs_have_as_many_images_of_each_class() -> None:
    images = Numbered(40, uneven=True)
    loader = training(images, balanced=True, augmentation=PLAIN)
    assert len(loader) == 5
    for number in range(3):
        shown, labels = map(torch.cat, zip(*epoch(loader, number), strict=True))
        assert labels.bincount(minlength=4).tolist() == [10] * 4
        assert images.labels[greys(shown)].tolist() == labels.tolist()
    once = greys(torch.cat([batch for batch, _ in epoch(loader, 0)]))
    assert once != greys(torch.cat([batch for batch, _ in epoch(loader, 1)]))
    assert len({at for at in once if images.labels[at] == 0}) == 10  # each once
    assert {once.count(at) for at in once if images.labels[at]} == {5}  # of two images a class


def test_an_image_that_comes_again_is_augmented_anew() -> None:
    images, augmentation = Numbered(16, uneven=True), replace(BATCHING.augmentation, mixup=0.0)
    shown = [
        batch for batch, _ in epoch(training(images, balanced=True, augmentation=augmentation))
    ]
    plans = training(images, balanced=True, augmentation=augmentation)._epoch
    by_image: dict[int, list[Tensor]] = {}
    for plan, batch in zip(plans, shown, strict=True):
        for index, image in zip(plan.indices, batch, strict=True):
            by_image.setdefault(int(index), []).append(image)
    again = [(own[0], one) for own in by_image.values() for one in own[1:]]
    assert again
    assert not any(torch.equal(first, other) for first, other in again)


@given(st.integers(1, 8), st.integers(1, 18))
def test_shares_cover_the_batch_once_and_keep_mirror_images_together(world: int, own: int) -> None:
    size = world * own
    shares = [batch_share(size, rank, world) for rank in range(world)]
    assert all(len(share) == own and (np.diff(share) > 0).all() for share in shares)
    assert sorted(chain.from_iterable(shares)) == list(range(size))
    if own % 2 == 0:
        assert all((share + share[::-1] == size - 1).all() for share in shares)


def test_seeds_stay_what_they_are() -> None:
    """Computed on 2026-11-20: resumed trainings depend on them."""
    assert derive_seed(0, 0, 0) == 3150921512212191848


def drawn(seed: int | None = None) -> tuple[float, float, float]:
    if seed is not None:
        seed_all(seed)
    return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002


def test_all_three_generators_are_seeded_and_restored_also_after_an_error() -> None:
    before = drawn(2**62 + 1)
    after = drawn()
    assert drawn(2**62 + 1) == before
    with suppress(KeyError), preserved_random_state():
        assert not set(drawn(2**62 + 2)) & set(before)
        raise KeyError
    assert drawn() == after
