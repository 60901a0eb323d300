"""Pictures that networks are trained on, by name, and the training that all of them get.

A task has pictures to train on and others to test on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from asvit.data import FractalDataset, load_images
from asvit.data.base import LabelledImages
from asvit.data.sources import open_dataset
from asvit.designs.pictures import write_pictures
from asvit.executors import one_thread
from asvit.search.limits import Limits
from asvit.search.settings import SearchSettings
from asvit.spaces import load_space
from asvit.spaces.architectures import with_parts
from asvit.training.short import LabelledTensors, Recipe, draw_linear_weights, fit
from asvit.training.short_settings import CandidateSettings
from experiments.drawn import DrawnPictures
from experiments.textures import Textures

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"  # the published result of a search
#: Of the table asvit-fractal, with its width and images.
RECIPE = CandidateSettings(
    classes=20,
    train_images=4_000,
    test_images=5_000,
    image_size=32,
    steps=700,
    init="own",
)
PICTURES = Path("runs/pictures")
#: Of coloured pictures of objects, where trainings are short.
AUGMENTATION: Final[Mapping[str, Any]] = {"flip": True, "crop_scale": 0.35, "color_jitter": 0.2}
_LARGE = 192  # pixels per side, of pictures that can be seen smaller
_FIRST_TESTED = 100_000  # number of the first generated picture to test on, in every set
#: Blocks of the published networks, where those made by hand have fewer.
_PUBLISHED_DEPTHS: Final[Mapping[str, tuple[int, ...]]] = {"shiftvit-parts": (2, 2, 6, 2)}
#: Stems of networks made by hand in studies that are older than deep stems.
_OLDER_STEMS: Final[Mapping[str, str]] = {"shiftvit-parts": "conv"}


class Parts(NamedTuple):
    """The pictures of a task, in memory."""

    train: LabelledTensors
    test: LabelledTensors

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.train[1].max()) + 1


@dataclass(frozen=True)
class Task:
    """Pictures to train on and others to test on.

    Attributes:
        images: Gives so many to train on, and after them so many to test on.
        train: Pictures to train on.
        test: Pictures to test on.
        side: Pixels per side.
        learning_rate: Highest one of a training.
    """

    images: Callable[[int, int], LabelledImages]
    train: int
    test: int
    side: int = 32
    learning_rate: float = 2e-3

    def load(self, folder: Path) -> Parts:
        """The pictures, after writing them to ``folder/train`` and ``folder/test``."""
        images, parts = self.images(self.train, self.test), []
        for name, places in (
            ("train", range(self.train)),
            ("test", range(self.train, len(images))),
        ):
            write_pictures(images, places, folder / name)
            read = load_images(str(folder / name), count=len(places), image_size=self.side, seed=0)
            parts.append((read.pixels, read.labels))
        return Parts(*parts)

    def recipe(self, steps: int, **changes: Any) -> Recipe:
        """A training of so many steps; ``changes`` are those of other fields."""
        batch_size = 64 if self.side <= 32 else 32  # half as many large images
        settings = replace(RECIPE, learning_rate=self.learning_rate, batch_size=batch_size)
        return replace(Recipe.of(settings, steps), **changes)


class ScatteredDigits(LabelledImages):
    """Scikit-learn's handwritten digits in random places, sizes and angles on black.

    Where it lies in the middle at full size, every architecture reads a digit; here they differ.
    Pictures to train on are made from two thirds of the digits, the others from the rest.
    """

    def __init__(self, train: int, test: int) -> None:
        self._digits = open_dataset("digits")
        rng = np.random.default_rng(0)
        parts = np.split(rng.permutation(len(self._digits)), [2 * len(self._digits) // 3])
        drawn = [rng.choice(part, size) for part, size in zip(parts, (train, test), strict=True)]
        self.drawn = np.concatenate(drawn)
        source = "scikit-learn's digits, scattered"
        super().__init__(source, self._digits.classes, self._digits.labels[self.drawn])

    def picture(self, index: int) -> Image.Image:
        """Return image ``index``: the digit turned by up to 20°, 12 to 22 pixels before that."""
        rng = np.random.default_rng([1, index])
        size = int(rng.integers(12, 23))
        picture: Any = self._digits.picture(int(self.drawn[index]))
        digit = picture.resize((size, size))
        digit = digit.rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC, expand=True)
        x, y = (int(rng.integers(32 - length + 1)) for length in digit.size)
        whole = Image.new("RGB", (32, 32))
        whole.paste(digit, (x, y))
        return whole


def _fractals(classes: int, train: int, test: int) -> LabelledImages:
    return FractalDataset(classes, (train + test) // classes, 32, seed=1)


def _numbers(train: int, test: int) -> list[int]:
    """All sets are tested on the same pictures, and a smaller set is part of a larger one."""
    return [*range(train), *range(_FIRST_TESTED, _FIRST_TESTED + test)]


def _drawn(side: int, train: int, test: int) -> LabelledImages:
    return DrawnPictures(_numbers(train, test), side)


def _textures(train: int, test: int) -> LabelledImages:
    return Textures(_numbers(train, test), 32)


def _fine_textures(train: int, test: int) -> LabelledImages:
    return Textures(_numbers(train, test), _LARGE, periods=(12, 30))


TASKS: Mapping[str, Task] = {
    "fractals": Task(partial(_fractals, 40), 8_000, 5_000, learning_rate=1e-3),
    "hard-fractals": Task(partial(_fractals, 100), 8_000, 5_000),
    "digits": Task(ScatteredDigits, 8_000, 5_000),
    "drawn-300": Task(partial(_drawn, 64), 300, 2_000, side=64),
    "drawn-3000": Task(partial(_drawn, 64), 3_000, 2_000, side=64),
    "textures": Task(_textures, 3_000, 2_000),
    "large-drawn-300": Task(partial(_drawn, _LARGE), 300, 1_000, side=_LARGE),
    "large-drawn-3000": Task(partial(_drawn, _LARGE), 3_000, 1_000, side=_LARGE),
    "large-textures": Task(_fine_textures, 3_000, 1_000, side=_LARGE),
    "large-textures-300": Task(_fine_textures, 300, 1_000, side=_LARGE),
}


@cache
def load_task(name: str) -> tuple[Task, Parts]:
    """A task and its pictures, which are loaded once in a process, from ``runs/pictures``."""
    return TASKS[name], TASKS[name].load(PICTURES / name)


def limits_of(space: str, side: int, classes: int, **limits: Any) -> Limits:
    """What makes networks of a space as wide as limits allow."""
    settings = SearchSettings(trainings=1, space=space, image_size=side, classes=classes, **limits)
    return Limits(load_space(space), settings)


@cache
def widest_by_hand(
    family: str,
    side: int,
    classes: int,
    *,
    depths: tuple[int, ...] = (),
    stem: str = "",
    **limits: Any,
) -> str:
    """The text of the network of a family made by hand, as wide as limits allow.

    It has its own stem and blocks in each stage, unless others are given.
    """
    space = load_space(family)
    arch = space.parse(space.by_hand[0])
    if depths:
        arch = replace(arch, depths=depths)
    if stem:
        arch = with_parts(arch, {"stem": stem})
    return str(limits_of(family, side, classes, **limits).network(arch))


def widest_published(family: str, side: int, classes: int, **limits: Any) -> str:
    """The text of the widest network of a family with as many blocks as the published one."""
    depths, stem = _PUBLISHED_DEPTHS.get(family, ()), _OLDER_STEMS.get(family, "")
    return widest_by_hand(family, side, classes, depths=depths, stem=stem, **limits)


def fit_fresh(
    network: Callable[[], nn.Module],
    parts: Parts,
    recipe: Recipe,
    *,
    seed: int,
    by_width: bool = True,
) -> float:
    """Test accuracy of a network after a training from scratch, per cent; NaN if that failed.

    Weights of linear layers suit any width, unless ``by_width`` leaves them as the network draws
    them.
    """
    with one_thread("cpu"), torch.random.fork_rng([]):
        torch.manual_seed(seed)
        fresh = network()
        if by_width:
            draw_linear_weights(fresh)
        return fit(fresh, *parts, recipe, seed=seed).accuracy
