"""Single-path one-shot training: every update trains one random path of a supernet."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.training.device_queue import Draws, drawn_ahead
from asvit.training.images.batched import draw_indexed, indexed_batch
from asvit.training.optimizers import parameter_groups
from asvit.training.short import LabelledTensors, short_schedule
from asvit.training.short_settings import Recipe
from asvit.training.supernets.settings import LossRow
from asvit.training.task import Task
from asvit.training.trainer import LOSS, EpochResult
from proxies.evaluation import seed_for


class SinglePath(Task[LossRow]):
    """Trains a supernet ``(images [B, C, H, W], path) -> [B, classes]`` on images in memory.

    An update leaves parameters off its path and their optimiser state unchanged: no gradient, no
    weight decay. Images that do not fill a last batch are left out of their epoch.

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
        """Prepare for a training.

        Args:
            network: The supernet.
            train: Images ``[n, C, H, W]`` and labels ``[n]`` int64, on its device.
            recipe: That of all its updates.
            draw: Draws a random path.
            seed: Of the paths, the order of the images, augmentation and dropout.
        """
        self.network, self.recipe, self.seed, self._draw = network, recipe, seed, draw
        self._images, self._labels = train
        self.steps, self.batch_size = len(train[1]) // recipe.batch_size, recipe.batch_size
        self.learning_rate, self.clip = recipe.learning_rate, recipe.clip

    def path(self, update: int) -> Any:
        """The path that an update trains."""
        return self._draw(np.random.default_rng(seed_for(self.seed, "path", update)))

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor, Any]]:
        """Images, labels and a path; every epoch has its own order of the images."""

        @lru_cache(maxsize=1)
        def order() -> Tensor:
            return torch.randperm(len(self._labels), generator=self._generator("order", epoch))

        def draw(update: int) -> Draws:
            place = size * (update - first)
            indices = order()[place : place + size]
            generator = self._generator("images", update)
            return draw_indexed(indices, self._images, augmentation, generator)

        augmentation = self.recipe.augmentation
        size, first = self.batch_size, epoch * self.steps
        updates = range(first + start, first + self.steps)
        for update, draws in zip(
            updates, drawn_ahead(draw, updates, self._images.device), strict=True
        ):
            yield *indexed_batch(self._images, self._labels, draws), self.path(update)

    def losses(
        self, network: nn.Module, images: Tensor, labels: Tensor, path: Any
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean cross-entropy of the path."""
        smoothing = self.recipe.label_smoothing
        return F.cross_entropy(network(images, path), labels, label_smoothing=smoothing), {}

    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        """AdamW, which skips parameters without a gradient."""
        groups = parameter_groups(self.network, self.recipe.weight_decay)
        return torch.optim.AdamW(groups, lr=self.learning_rate)

    def schedule(self, epochs: int) -> Callable[[int], float]:
        """That of the recipe."""
        return short_schedule(self.recipe)

    def update_seed(self, update: int, rank: int) -> int:
        """The seed of dropout."""
        return seed_for(self.seed, "dropout", update)

    def row(self, epoch: int, result: EpochResult, metrics: None, seconds: float) -> LossRow:
        """The mean loss of an epoch."""
        return LossRow(epoch + 1, result.sums[LOSS] / self.steps)

    def _generator(self, purpose: str, count: int) -> torch.Generator:
        # On the CPU, so that draws are the same for all devices.
        return torch.Generator().manual_seed(seed_for(self.seed, purpose, count))
