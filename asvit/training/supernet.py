"""Supernets: their images, single-path training and ``supernet.safetensors``."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asvit.core.run_files import SUPERNET_WEIGHTS
from asvit.data.base import Progress, balanced_choice
from asvit.training.augmentation import Draws
from asvit.training.checkpoint import Checkpoint
from asvit.training.short import (
    LabelledTensors,
    Recipe,
    RecipeTask,
    load_all,
    split_apart,
    split_images,
)
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet_result import LossRow
from asvit.training.trainer import LOSS, EpochResult
from proxies.evaluation import seed_for

#: How :meth:`asvit.training.checkpoint.Checkpoint.read` reads the file.
SUPERNET: Final[Any] = {"kind": "supernet", "settings": SupernetSettings, "row": LossRow}


def read_finished(folder: Path) -> Checkpoint:
    """Read the finished supernet in a run folder."""
    trained = Checkpoint.read(folder / SUPERNET_WEIGHTS, **SUPERNET)
    if not trained.finished:
        raise ValueError(
            f"the supernet in {folder} is unfinished, {len(trained.history)} of {trained.epochs} "
            "epochs; the same asvit supernet train goes on with it"
        )
    return trained


def supernet_recipe(settings: SupernetSettings) -> Recipe:
    """The recipe of the supernet, and of a network trained alone for as many steps."""
    return Recipe.of(settings, settings.epochs * (settings.train_images // settings.batch_size))


@dataclass(frozen=True)
class Splits:
    """Disjoint images ``[n, 3, S, S]`` and labels ``[n]`` to train on, choose a path by, and test.

    Their provenance is their source, and their SHA-256 as ``digest``.
    """

    train: LabelledTensors
    validation: LabelledTensors
    test: LabelledTensors
    names: tuple[str, ...]  # of the classes
    provenance: Mapping[str, str]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.names)


def load_splits(
    settings: SupernetSettings,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Splits:
    """Load and split the images of a supernet, stratified by class, with copies in one part."""
    held_out = settings.test_images, settings.validation_images
    images = load_all(settings, held_out, progress)
    if images.own_statistics:
        raise ValueError(
            f"supernets are trained on 8-bit RGB pictures, and {images.source} has "
            f"{images.channels} channel(s) of its own; use asvit search"
        )
    parts = split_images(images, held_out)
    test, validation, train = ((pixels.to(device), y.to(device)) for pixels, y in parts)
    provenance = {"source": images.source, "digest": images.digest}
    return Splits(train, validation, test, images.classes, provenance)


def places_to_train_on(
    settings: SupernetSettings, labels: NDArray[np.int64], progress: Progress | None = None
) -> NDArray[np.int64]:
    """Places of the images that :func:`load_splits` trains on, in a whole set of these labels."""
    held_out = settings.test_images, settings.validation_images
    images = load_all(settings, held_out, progress)
    places = balanced_choice(labels, len(images.labels), settings.seed)
    return places[split_apart(images, held_out)[-1]]


class SinglePath(RecipeTask[LossRow]):
    """Trains a supernet ``(images [B, C, H, W], path) -> [B, classes]`` on images in memory.

    An update leaves parameters off its path and their optimiser state unchanged: no gradient, no
    weight decay. Images that do not fill a last batch are left out of their epoch.

    ``draw`` draws a random path; the ``seed`` is that of the paths, the order of the images,
    augmentation and dropout.

    References:
        Guo et al. 2020, "Single Path One-Shot Neural Architecture Search with Uniform Sampling",
        arXiv:1904.00420.
    """

    def __init__(
        self,
        network: nn.Module,
        train: LabelledTensors,
        recipe: Recipe,
        *,
        draw: Callable[[np.random.Generator], Any],
        seed: int,
    ) -> None:
        steps = len(train[1]) // recipe.batch_size
        super().__init__(network, train, recipe, seed=seed, steps=steps)
        self._draw = draw

    def path(self, update: int) -> Any:
        """The path that an update trains."""
        return self._draw(np.random.default_rng(seed_for(self.seed, "path", update)))

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor, Any]]:
        """Images, labels and a path; every epoch has its own order of the images."""
        first, count = epoch * self.steps, len(self.labels)
        order = torch.randperm(count, generator=self._generator("order", epoch))

        def draw(update: int) -> Draws:
            place = self.batch_size * (update - first)
            indices = order[place : place + self.batch_size]
            return self.draw_images(indices, self._generator("images", update))

        updates = range(first + start, first + self.steps)
        for update, batch in zip(updates, self.drawn(draw, updates), strict=True):
            yield *batch, self.path(update)

    def losses(
        self, network: nn.Module, images: Tensor, labels: Tensor, path: Any
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        return self.loss(network(images, path), labels)

    def update_seed(self, update: int, rank: int) -> int:
        return seed_for(self.seed, "dropout", update)

    def row(self, epoch: int, result: EpochResult, metrics: None, seconds: float) -> LossRow:
        return LossRow(epoch + 1, result.sums[LOSS] / self.steps)

    def _generator(self, purpose: str, count: int) -> torch.Generator:
        # On the CPU, so that draws are the same for all devices.
        return torch.Generator().manual_seed(seed_for(self.seed, purpose, count))
