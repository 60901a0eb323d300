"""Short training from scratch on images in memory, with one plain recipe."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from asvit.models.blocks import is_linear
from asvit.training.balance import balanced_order, class_weights
from asvit.training.device_queue import Draws, drawn_ahead
from asvit.training.distributed import ProcessGroup
from asvit.training.images.batched import draw_indexed, indexed_batch
from asvit.training.layout import fast_layout
from asvit.training.metrics import Accuracy, evaluate, weighted_loss
from asvit.training.optimizers import make_optimizer, parameter_groups
from asvit.training.schedule import Schedule
from asvit.training.short_settings import Recipe as Recipe
from asvit.training.task import Task
from asvit.training.trainer import Diverged, Step, Trainer

LabelledTensors = tuple[Tensor, Tensor]  # images [n, C, H, W] and labels [n] int64

_FEW_PIXELS = 32 * 32  # of an image
#: Weights of a convolution below this share of Xavier's spread are too small; PyTorch's own and
#: those of residual networks are above.
_SMALL = 0.4


@dataclass(frozen=True)
class FitResult:
    """Result of a training."""

    # Top-1 on the test images, or balanced accuracy where classes are; per cent, NaN if training
    # failed.
    accuracy: float
    losses: tuple[float, ...]  # of every step, nats; of a failed training up to those last read
    reason: str | None = None  # why training failed


class ShortTask(Task[None]):
    """One epoch of a recipe's steps, on images in memory, for ``[B, C, H, W] -> [B, classes]``.

    Equal trainings draw the same only from the beginning on, from generators that go on.
    """

    captured = True

    def __init__(
        self, network: nn.Module, train: LabelledTensors, recipe: Recipe, *, seed: int
    ) -> None:
        self.network, self.recipe, self.seed = network, recipe, seed
        self.steps, self.batch_size = recipe.steps, recipe.batch_size
        self.learning_rate, self.clip = recipe.learning_rate, recipe.clip
        self._images, self._labels = train
        self._weights: Tensor | None = None
        if recipe.balance == "weights":  # of the classes up to the largest
            weights = class_weights(train[1].cpu().numpy(), int(train[1].max()) + 1)
            self._weights = torch.from_numpy(weights).to(train[1].device)

    def batches(self, epoch: int, start: int) -> Iterator[LabelledTensors]:
        """The batches of all steps; every image comes once before any repeats.

        If classes are sampled, that holds within a class. Batches are drawn on the CPU, so that
        they are the same for all devices.
        """
        recipe, generator = self.recipe, torch.Generator().manual_seed(self.seed)
        queue, classes = torch.empty(0, dtype=torch.int64), self._labels.cpu()

        def draw(_step: int) -> Draws:
            nonlocal queue
            while len(queue) < recipe.batch_size:
                queue = torch.cat([queue, _order(classes, recipe, generator)])
            indices, queue = queue.split([recipe.batch_size, len(queue) - recipe.batch_size])
            return draw_indexed(indices, self._images, augmentation, generator)

        augmentation = recipe.augmentation
        for draws in drawn_ahead(draw, range(recipe.steps), self._labels.device):
            images, labels = indexed_batch(self._images, self._labels, draws)
            yield fast_layout(images), labels

    def losses(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean cross-entropy; with class weights, whatever classes a batch has."""
        logits, smoothing = network(images), self.recipe.label_smoothing
        if self._weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing), {}
        weights = F.pad(self._weights, (0, logits.shape[1] - len(self._weights)), value=1.0)
        return weighted_loss(logits, labels, weights, label_smoothing=smoothing), {}

    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        """That of the recipe."""
        groups = parameter_groups(self.network, self.recipe.weight_decay)
        return make_optimizer(
            self.recipe.optimizer, groups, learning_rate=self.learning_rate, device=device
        )

    def schedule(self, epochs: int) -> Callable[[int], float]:
        """As :func:`short_schedule` has it."""
        return short_schedule(self.recipe)

    def update_seed(self, update: int, rank: int) -> None:
        """Updates draw on from the last one."""


def short_schedule(recipe: Recipe) -> Schedule:
    """A linear warm-up, then a cosine to 0."""
    first = recipe.learning_rate / (recipe.warmup + 1)
    return Schedule(
        recipe.learning_rate, recipe.steps, recipe.warmup, first=first, after_warmup=True
    )


def fit(
    model: nn.Module, train: LabelledTensors, test: LabelledTensors, recipe: Recipe, *, seed: int
) -> FitResult:
    """Train ``model`` in place and test it; training that diverges ends with a reason.

    The model, ``[B, C, H, W] -> [B, classes]``, stays on its device, where the images are. The
    seed is that of their order, augmentation and dropout. On a CPU, equal seeds (and equal initial
    weights, images and threads) give equal bits.
    """
    device, losses = train[0].device, list[float]()
    # With few tokens, plain attention is faster on a CPU than the fused kernel.
    plain = device.type == "cpu" and train[0][0, 0].numel() <= _FEW_PIXELS
    kernel = sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()

    def keep(step: Step) -> None:
        losses.extend(step.losses)

    with torch.random.fork_rng([device] if device.type == "cuda" else []), kernel:
        torch.manual_seed(seed)  # dropout and drop-path
        try:
            task = ShortTask(model, train, recipe, seed=seed)
            with closing(Trainer(task, ProcessGroup(device), epochs=1)) as trainer:
                trainer.train(0, progress=keep)
        except Diverged as error:
            return FitResult(math.nan, tuple(losses), str(error).partition(";")[0])
    measure = accuracy if recipe.balance == "none" else balanced_accuracy
    return FitResult(measure(model, *test), tuple(losses))


def draw_linear_weights(model: nn.Module) -> None:
    """Draw the weights of linear layers anew, with a spread that suits their width.

    Vision transformers mostly begin with a standard deviation of 0.02, whatever their width. In
    narrow networks that is too little: they learn nothing for hundreds of steps. Convolutions of
    1 x 1 are linear layers, too, and others are those of their patches, which are drawn if they
    are that small: between stages they would lose what the blocks before them have learnt. A
    model whose own weights suit its width keeps them.

    References:
        Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural
        networks".
    """
    if getattr(model, "weights_suit_width", False):
        return
    for module in model.modules():
        if is_linear(module):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Conv2d) and module.groups == 1:
            matrix = module.weight.view(len(module.weight), -1)  # a linear map of its patches
            if matrix.std() < _SMALL * math.sqrt(2 / sum(matrix.shape)):
                nn.init.xavier_uniform_(matrix)


def accuracy(model: nn.Module, pixels: Tensor, labels: Tensor, *, batch_size: int = 256) -> float:
    """Top-1 accuracy of ``model`` in evaluation mode, per cent."""
    return _evaluated(model, pixels, labels, batch_size).top1


def balanced_accuracy(
    model: nn.Module, pixels: Tensor, labels: Tensor, *, batch_size: int = 256
) -> float:
    """Mean over classes of the top-1 accuracy of ``model`` in evaluation mode, per cent."""
    share = _evaluated(model, pixels, labels, batch_size, int(labels.max()) + 1).balanced
    return math.nan if share is None else share


def _evaluated(
    model: nn.Module, pixels: Tensor, labels: Tensor, batch_size: int, classes: int | None = None
) -> Accuracy:
    batches = zip(pixels.split(batch_size), labels.split(batch_size), strict=True)
    processes = ProcessGroup(pixels.device)
    (found,) = evaluate([model], batches, processes, precision="auto", classes=classes)
    return found


def _order(labels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Shuffled indices of as many images as there are; of each class alike if it is sampled."""
    if recipe.balance != "sampling":
        return torch.randperm(len(labels), generator=generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    indices, _ = balanced_order(labels.numpy(), len(labels), np.random.default_rng(seed))
    return torch.from_numpy(indices)
