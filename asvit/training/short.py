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
from asvit.training.batched import Draws, augmented, draw_batch, drawn_ahead
from asvit.training.distributed import ProcessGroup
from asvit.training.layout import fast_layout
from asvit.training.metrics import Accuracy, evaluate, weighted_loss
from asvit.training.optimizers import make_optimizer, parameter_groups
from asvit.training.schedule import Schedule
from asvit.training.short_settings import Recipe as Recipe
from asvit.training.splits import LabelledTensors as LabelledTensors
from asvit.training.task import Row, Task
from asvit.training.trainer import Diverged, Step, Trainer

_FEW_PIXELS = 32 * 32  # of an image
#: Weights of a convolution below this share of Xavier's spread are too small; PyTorch's own and
#: those of residual networks are above.
_SMALL = 0.4
_TESTED = 256  # images of a batch to test on


@dataclass(frozen=True)
class FitResult:
    """Result of a training."""

    # Top-1 on the test images, or balanced accuracy where classes are; per cent, NaN if training
    # failed.
    accuracy: float
    losses: tuple[float, ...]  # of every step, nats; of a failed training up to those last read
    reason: str | None = None  # why training failed


class RecipeTask(Task[Row]):
    """A task of images in memory and a recipe, of which a batch is drawn on the CPU.

    So draws are the same for all devices.
    """

    def __init__(
        self, network: nn.Module, train: LabelledTensors, recipe: Recipe, *, seed: int
    ) -> None:
        self.network, self.recipe, self.seed = network, recipe, seed
        self.batch_size, self.clip = recipe.batch_size, recipe.clip
        self.learning_rate = recipe.learning_rate
        self.images, self.labels = train
        self.augmentation = recipe.augmentation

    def draw_images(self, indices: Tensor, generator: torch.Generator) -> Draws:
        """Which images are in a batch, and draws for each of them."""
        shape = self.images.shape[1:]
        return {
            "indices": indices,
            **draw_batch(len(indices), shape, self.augmentation, generator),
        }

    def drawn(self, draw: Callable[[int], Draws], steps: range) -> Iterator[LabelledTensors]:
        """The images and labels of the batches that :meth:`draw_images` has drawn for steps."""
        for draws in drawn_ahead(draw, steps, self.images.device):
            indices = draws["indices"]
            yield augmented(self.images[indices], draws), self.labels[indices]

    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        """That of the recipe."""
        groups = parameter_groups(self.network, self.recipe.weight_decay)
        name = self.recipe.optimizer
        return make_optimizer(name, groups, learning_rate=self.learning_rate, device=device)

    def schedule(self, epochs: int) -> Callable[[int], float]:
        """A linear warm-up, then a cosine to 0."""
        r = self.recipe
        first = r.learning_rate / (r.warmup + 1)
        return Schedule(r.learning_rate, r.steps, r.warmup, first=first, after_warmup=True)


class ShortTask(RecipeTask[None]):
    """One epoch of a recipe's steps, on images in memory, for ``[B, C, H, W] -> [B, classes]``.

    Equal trainings draw the same only from the beginning on, from generators that go on.
    """

    captured = True

    def __init__(
        self, network: nn.Module, train: LabelledTensors, recipe: Recipe, *, seed: int
    ) -> None:
        super().__init__(network, train, recipe, seed=seed)
        self.steps = recipe.steps
        self._weights: Tensor | None = None
        if recipe.balance == "weights":  # of the classes up to the largest
            weights = class_weights(self.labels.cpu().numpy(), int(self.labels.max()) + 1)
            self._weights = torch.from_numpy(weights).to(self.labels.device)

    def batches(self, epoch: int, start: int) -> Iterator[LabelledTensors]:
        """The batches of all steps; every image comes once before any repeats.

        If classes are sampled, that holds within a class.
        """
        size, generator = self.batch_size, torch.Generator().manual_seed(self.seed)
        queue, classes = torch.empty(0, dtype=torch.int64), self.labels.cpu()

        def draw(_step: int) -> Draws:
            nonlocal queue
            while len(queue) < size:
                queue = torch.cat([queue, _order(classes, self.recipe, generator)])
            indices, queue = queue[:size], queue[size:]
            return self.draw_images(indices, generator)

        for images, labels in self.drawn(draw, range(self.steps)):
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

    def update_seed(self, update: int, rank: int) -> None:
        """Updates draw on from the last one."""


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
    pixels, labels = test
    if recipe.balance == "none":
        return FitResult(accuracy(model, pixels, labels), tuple(losses))
    balanced = _evaluated(model, pixels, labels, int(labels.max()) + 1).balanced
    return FitResult(math.nan if balanced is None else balanced, tuple(losses))


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


def accuracy(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy of ``model`` in evaluation mode, per cent."""
    return _evaluated(model, pixels, labels).top1


def _evaluated(
    model: nn.Module, pixels: Tensor, labels: Tensor, classes: int | None = None
) -> Accuracy:
    batches = zip(pixels.split(_TESTED), labels.split(_TESTED), strict=True)
    processes = ProcessGroup(pixels.device)
    (values,) = evaluate([model], batches, processes, precision="auto", classes=classes)
    return values


def _order(labels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Shuffled indices of as many images as there are; of each class alike if it is sampled."""
    if recipe.balance != "sampling":
        return torch.randperm(len(labels), generator=generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    indices, _ = balanced_order(labels.numpy(), len(labels), np.random.default_rng(seed))
    return torch.from_numpy(indices)
