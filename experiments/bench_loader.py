"""Images a second of one core: our loader and timm's.

Run from a checkout: ``python -m experiments.bench_loader``. Both read the same JPEG files in
batches and augment each of them with the same draws, so they differ in the loaders' own work:
reading, seeding, normalising, collating, mixing. timm's loader is what its ``train.py`` makes by
``create_loader``, with ``Mixup``. ``whole`` is all of it; ``workers`` is what remains for them
where a GPU normalises, erases and mixes. Epochs of all alternate; the clock is process time, which
excludes other programs.
"""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from timm.data import Mixup, create_dataset, create_loader
from torch.utils.data import Dataset

from asvit.data import MEAN, STD, open_dataset
from asvit.training.loaders import (
    Batching,
    derive_seed,
    preserved_random_state,
    seed_all,
    train_loader,
)
from experiments.bench import alternating, bench_parser, start, write_pictures
from experiments.tables import markdown

CLASSES = 8
SIDES = (500, 375)  # of most pictures in ImageNet
CPU = torch.device("cpu")


def main() -> None:
    """Print images a second of every loader, and their ratio to timm's."""
    parser = bench_parser(__doc__, runs=8, threads=1)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    start(options, f"JPEGs of {SIDES[0]} x {SIDES[1]} px to {options.image_size} px")
    batching = Batching(
        image_size=options.image_size, batch_size=options.batch, label_smoothing=0.1
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder, options.images, classes=CLASSES, size=SIDES)
        ways = {
            "timm, whole": timms(folder, batching, workers=False),
            "asvit, whole": ours(folder, batching, workers=False),
            "timm, workers": timms(folder, batching, workers=True),
            "asvit, workers": ours(folder, batching, workers=True),
        }
        times = {way: sum(own) for way, own in alternating(ways, options.runs, CPU).items()}
    images = options.runs * (options.images // options.batch * options.batch)
    rows = []
    for way, seconds in times.items():
        timm = times["timm, workers" if "workers" in way else "timm, whole"]
        each = 1e3 * seconds / images
        rows.append([way, f"{each:.2f}", f"{1e3 / each:.0f}", f"{timm / seconds:.2f}"])
    columns = {"loader": "l", "ms an image": "r", "images/s of a core": "r", "times timm's": "r"}
    print(markdown(columns, rows))


def ours(folder: Path, batching: Batching, *, workers: bool) -> Callable[[int], None]:
    """An epoch of our loader."""
    loader: Any = train_loader(open_dataset(str(folder)), batching)  # read from files

    def epoch(number: int) -> None:
        loader.set_epoch(number)
        batches: Iterable[object] = loader.prepared() if workers else loader
        for _ in batches:
            pass

    return epoch


class _Seeded(Dataset[Any]):
    """timm's dataset with the same draws for each image as ours."""

    def __init__(self, folder: Path) -> None:
        self.epoch = 0
        self.transform: Any = None
        self._items = create_dataset("", str(folder))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        self._items.transform = self.transform
        seed_all(derive_seed(1, 0, self.epoch, index, 0))
        return self._items[index]


def timms(folder: Path, batching: Batching, *, workers: bool) -> Callable[[int], None]:
    """An epoch of timm's loader."""
    items, augmentation = _Seeded(folder), batching.augmentation
    side = batching.image_size
    loader: Any = create_loader(
        items,
        input_size=(3, side, side),
        batch_size=batching.batch_size,
        is_training=True,
        re_prob=augmentation.erasing,
        re_mode="pixel",
        mean=MEAN,
        std=STD,
        num_workers=0,
        persistent_workers=False,
        device=CPU,
    )
    # timm's own, but for an operation that Pillow 13 refuses.
    items.transform = augmentation.train_transform(side, mean=MEAN)
    mixup = Mixup(0.8, 1.0, switch_prob=0.5, label_smoothing=0.1, num_classes=CLASSES)

    def epoch(number: int) -> None:
        items.epoch = number
        with preserved_random_state():
            for images, labels in loader.loader if workers else loader:
                if not workers:
                    mixup(images, labels)

    return epoch


if __name__ == "__main__":
    main()
