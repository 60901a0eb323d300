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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from timm.data import Mixup, create_dataset
from timm.data.loader import PrefetchLoader, fast_collate
from torch.utils.data import DataLoader, Dataset

from asvit.data import MEAN, STD, FolderDataset
from asvit.training.images.augmentation import Augmentation
from asvit.training.images.loaders import Batching, train_loader
from asvit.training.images.order import training_plans
from asvit.training.images.seeds import derive_seed, seed_all
from experiments.bench import alternating, write_pictures

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
        write_pictures(Path(folder), asked.images, classes=CLASSES, size=SIDES)
        ways = {
            way.__name__: way(Path(folder), asked.image_size, asked.batch) for way in (ours, timms)
        }
        times = alternating(ways, asked.epochs, torch.device("cpu"))
    images = asked.images // asked.batch * asked.batch
    print("epoch   asvit    timm   ms an image")
    for number, pair in enumerate(zip(*times.values(), strict=True)):
        print(f"{number:5d}  " + "  ".join(f"{1e3 * seconds / images:6.2f}" for seconds in pair))
    mine, other = map(sum, times.values())
    print(f"ratio {mine / other:.3f}")


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


if __name__ == "__main__":
    main()
