"""Time to load a training batch: our loader and timm's, on one core.

Run from a checkout: ``python -m experiments.bench_loader``. Both read the same JPEG files in the
same order and augment them with the same draws. So they differ only in the loaders' own work:
reading, seeding, normalising, collating. timm's loader is the faster variant of ``create_loader``,
``fast_collate`` and ``PrefetchLoader``, with its ``Mixup``. Epochs of both alternate; the clock is
process time, which excludes other programs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import Mixup, create_dataset
from timm.data.loader import PrefetchLoader, fast_collate
from torch.utils.data import DataLoader, Dataset

from asvit.data import MEAN, STD, FolderDataset
from asvit.training.images.augmentation import Augmentation
from asvit.training.images.loaders import (
    Batching,
    derive_seed,
    seed_all,
    train_loader,
    training_plans,
)

CLASSES = 8
SIDES = (500, 375)  # of most pictures in ImageNet


def main() -> None:
    """Print milliseconds per image of both in every epoch, and the ratio of their sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), asked.images)
        ways = [way(Path(folder), asked.image_size, asked.batch) for way in (ours, timms)]
        times = [alternating(ways, epoch) for epoch in range(asked.epochs + 1)][
            1:
        ]  # the first one warms up
    made = asked.images // asked.batch * asked.batch
    print("epoch   asvit    timm   ms an image")
    for number, (mine, other) in enumerate(times):
        print(f"{number:5d}  {1e3 * mine / made:6.2f}  {1e3 * other / made:6.2f}")
    print(f"ratio {sum(mine for mine, _ in times) / sum(other for _, other in times):.3f}")


def alternating(ways: list[Callable[[int], None]], epoch: int) -> list[float]:
    """Seconds of an epoch of each loader; each is first as often as second."""
    seconds = [0.0] * len(ways)
    for place in (0, 1) if epoch % 2 else (1, 0):
        began = time.process_time()
        ways[place](epoch)
        seconds[place] = time.process_time() - began
    return seconds


def ours(folder: Path, image_size: int, batch: int) -> Callable[[int], None]:
    """An epoch of our loader."""
    batching = Batching(image_size=image_size, batch_size=batch, label_smoothing=0.1)
    loader = train_loader(FolderDataset(folder), batching)

    def epoch(number: int) -> None:
        loader.set_epoch(number)
        for _ in loader:
            pass

    return epoch


class _Seeded(Dataset[Any]):
    """timm's dataset with the same draws for each image as ours."""

    def __init__(self, folder: Path, image_size: int) -> None:
        self.epoch = 0
        self._items = create_dataset("", str(folder))
        self._items.transform = Augmentation().train_transform(image_size, mean=MEAN)

    def __getitem__(self, index: int) -> Any:
        seed_all(derive_seed(1, 0, self.epoch, index, 0))
        return self._items[index]


class _Order:
    """The indices of the images in our order, batch by batch."""

    def __init__(self, count: int, batch: int) -> None:
        self.epoch, self._count, self._batch = 0, count, batch

    def __iter__(self) -> Iterator[list[int]]:
        plans = training_plans(self._count, self._batch, self.epoch, seed=0)
        return (plan.indices.tolist() for plan in plans)


def timms(folder: Path, image_size: int, batch: int) -> Callable[[int], None]:
    """An epoch of timm's loader."""
    items = _Seeded(folder, image_size)
    order = _Order(len(FolderDataset(folder)), batch)
    loader = PrefetchLoader(
        DataLoader(items, batch_sampler=order, collate_fn=fast_collate),
        mean=MEAN,
        std=STD,
        device=torch.device("cpu"),
        re_prob=0.25,
        re_mode="pixel",
    )
    mixup = Mixup(0.8, 1.0, switch_prob=0.5, label_smoothing=0.1, num_classes=CLASSES)

    def epoch(number: int) -> None:
        items.epoch = order.epoch = number
        for images, labels in loader:
            mixup(images, labels)

    return epoch


def write_pictures(folder: Path, count: int) -> None:
    """Write JPEG files of smooth pictures with some noise into class folders."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize(SIDES, Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth) + generator.normal(0, 8, (*reversed(SIDES), 3))
        place = folder / f"class{number % CLASSES}"
        place.mkdir(exist_ok=True)
        picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        picture.save(place / f"{number}.jpg", quality=90)


if __name__ == "__main__":
    main()
