"""Supernets: their images, single-path training and ``supernet.safetensors``."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.run_files import SUPERNET_WEIGHTS
from asvit.data.base import Progress, balanced_choice
from asvit.training.batched import Draws
from asvit.training.checkpoint import Checkpoint
from asvit.training.short import RecipeTask
from asvit.training.short_settings import Recipe, SupernetSettings
from asvit.training.splits import (
    LabelledTensors,
    load_all,
    split_apart,
    split_images,
    warn_of_copies,
)
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

    def to(self, device: torch.device) -> Self:
        """Copy the images and labels to a device."""
        train, validation, test = (
            (pixels.to(device), labels.to(device))
            for pixels, labels in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test)


def load_splits(settings: SupernetSettings, *, progress: Progress | None = None) -> Splits:
    """Load and split the images of a supernet, stratified by class, with copies in one part."""
    held_out = _held_out(settings)
    images = load_all(settings, held_out, progress)
    if images.own_statistics:
        raise ValueError(
            f"supernets are trained on 8-bit RGB pictures, and {images.source} has "
            f"{images.channels} channel(s) of its own; use asvit search"
        )
    warn_of_copies(images, held_out)
    test, validation, train = split_images(images, held_out)
    provenance = {"source": images.source, "digest": images.digest}
    return Splits(train, validation, test, images.classes, provenance)


def _held_out(settings: SupernetSettings) -> tuple[int, int]:
    """How many images are to test on, and to validate on."""
    return settings.test_images, settings.validation_images


def places_to_train_on(
    settings: SupernetSettings, labels: NDArray[np.int64], progress: Progress | None = None
) -> NDArray[np.int64]:
    """Places of the images that :func:`load_splits` trains on, in a whole set of these labels."""
    images = load_all(settings, _held_out(settings), progress)
    places = balanced_choice(labels, len(images.labels), settings.seed)
    return places[split_apart(images, _held_out(settings))[-1]]


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

    captured = False  # every step has another path

    def __init__(
        self,
        network: nn.Module,
        train: LabelledTensors,
        recipe: Recipe,
        *,
        draw: Callable[[np.random.Generator], Any],
        seed: int,
    ) -> None:
        super().__init__(network, train, recipe, seed=seed)
        self.steps, self._draw = len(train[1]) // recipe.batch_size, draw

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
        """Mean cross-entropy of the path."""
        smoothing = self.recipe.label_smoothing
        return F.cross_entropy(network(images, path), labels, label_smoothing=smoothing), {}

    def update_seed(self, update: int, rank: int) -> int:
        """The seed of dropout."""
        return seed_for(self.seed, "dropout", update)

    def row(self, epoch: int, result: EpochResult, metrics: None, seconds: float) -> LossRow:
        """The mean loss of an epoch."""
        return LossRow(epoch + 1, result.sums[LOSS] / self.steps)

    def _generator(self, purpose: str, count: int) -> torch.Generator:
        # On the CPU, so that draws are the same for all devices.
        return torch.Generator().manual_seed(seed_for(self.seed, purpose, count))
