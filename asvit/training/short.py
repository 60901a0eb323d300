"""Short trainings from scratch on images in memory, by which architectures are compared."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from asvit.core.codec import Nullable
from asvit.data.base import Progress
from asvit.data.sources import Images, are_fractals
from asvit.executors import one_thread
from asvit.models.blocks import is_linear
from asvit.spaces import build
from asvit.training import splits
from asvit.training.balance import balanced_order
from asvit.training.batched import Draws, augmented, draw_batch, drawn_ahead
from asvit.training.distributed import ProcessGroup
from asvit.training.layout import fast_layout
from asvit.training.metrics import Accuracy, evaluate
from asvit.training.optimizers import make_optimizer, parameter_groups
from asvit.training.schedule import Schedule
from asvit.training.short_settings import CandidateSettings
from asvit.training.short_settings import Recipe as Recipe
from asvit.training.splits import LabelledTensors as LabelledTensors
from asvit.training.task import Row, Task
from asvit.training.trainer import Diverged, Step, Trainer
from proxies.evaluation import FAILURES, check_device, seed_for
from proxies.messages import fault, out_of_memory
from proxies.text import legible

_FEW_PIXELS = 32 * 32  # of an image
#: Weights of a convolution below this share of Xavier's spread are too small; PyTorch's own and
#: those of residual networks are above.
_SMALL = 0.4
_TESTED = 256  # images of a batch to test on


class RecipeTask(Task[Row]):
    """A task of images in memory and a recipe; draws are made on the CPU for all devices."""

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
        """Mean cross-entropy."""
        smoothing = self.recipe.label_smoothing
        return F.cross_entropy(network(images), labels, label_smoothing=smoothing), {}

    def update_seed(self, update: int, rank: int) -> None:
        """Updates draw on from the last one."""


def _order(labels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Shuffled indices of as many images as there are; of each class alike if it is sampled."""
    if recipe.balance != "sampling":
        return torch.randperm(len(labels), generator=generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    indices, _ = balanced_order(labels.numpy(), len(labels), np.random.default_rng(seed))
    return torch.from_numpy(indices)


@dataclass(frozen=True)
class FitResult:
    """Result of a training."""

    # Top-1 on the test images, or balanced accuracy where classes are; per cent, NaN if training
    # failed.
    accuracy: float
    losses: tuple[float, ...]  # of every step, nats; of a failed training up to those last read
    reason: str | None = None  # why training failed


def fit(
    model: nn.Module, train: LabelledTensors, test: LabelledTensors, recipe: Recipe, *, seed: int
) -> FitResult:
    """Train ``model`` in place and test it; training that diverges ends with a reason.

    The model, ``[B, C, H, W] -> [B, classes]``, is on the device of the images. On a CPU, equal
    seeds (and equal initial weights, images and threads) give equal bits.
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


def draw_linear_weights(model: nn.Module) -> None:
    """Draw the weights of linear layers anew, with a spread that suits their width.

    Vision transformers mostly begin with a standard deviation of 0.02, with which narrow networks
    learn nothing for hundreds of steps. Convolutions of 1 x 1 are linear layers, too; others are
    drawn if their weights are as small. A model whose own weights suit its width keeps them.

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


class Training(NamedTuple):
    """One training: the text of an architecture, and the seed."""

    architecture: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of a training; its numbers are NaN if it failed for a ``reason``."""

    accuracy: Nullable  # on the test images, per cent
    loss: Nullable  # mean over the last tenth of the steps, nats
    seconds: float
    reason: str = ""


class CandidateTrainer:
    """Trains networks on the images of the settings; equal trainings have equal outcomes.

    Without ``images`` those of the settings are loaded. ``provenance`` is their source and digest.
    """

    def __init__(
        self, settings: CandidateSettings, device: str, *, images: Images | None = None
    ) -> None:
        images = images or load_all(settings)
        self.num_classes, self.in_chans = len(images.classes), images.channels
        self.provenance = {"source": images.source, "digest": images.digest}
        self._settings = settings
        self.device = device
        self._test, self._train = (
            (pixels.to(device), labels.to(device))
            for pixels, labels in splits.split_images(images, (settings.test_images,))
        )

    def __call__(self, training: Training) -> Outcome:
        """Train one network from scratch and test it.

        Cost: three forward passes for each image of each step.
        """
        started = time.monotonic()
        seed = seed_for(self._settings.seed, training.architecture, training.seed)
        with one_thread(self.device.partition(":")[0]):
            model = self._fresh(training.architecture, seed)
            recipe = self._settings.recipe_of(training.architecture)
            fitted = fit(model, self._train, self._test, recipe, seed=seed)
        last = fitted.losses[-max(1, len(fitted.losses) // 10) :]
        return Outcome(
            accuracy=fitted.accuracy,
            loss=statistics.fmean(last) if fitted.reason is None else math.nan,
            seconds=round(time.monotonic() - started, 3),
            reason=fitted.reason or "",
        )

    def _fresh(self, architecture: str, seed: int) -> nn.Module:
        """A network whose initial weights are the same on every device."""
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            sizes = self._settings.image_size, self.num_classes
            model = build(architecture, *sizes, in_chans=self.in_chans)
            if self._settings.init == "xavier":
                draw_linear_weights(model)
        return model.to(self.device)


def outcome_of(train: CandidateTrainer, training: Training) -> Outcome:
    """The outcome of a training, also of a network that cannot be built or trained."""
    try:
        return train(training)
    except MemoryError:
        raise
    except FAILURES as error:
        check_device(torch.device(train.device))
        why = fault(error)
    if out_of_memory(why):
        raise MemoryError(why)
    return failure(why)


def failure(why: str) -> Outcome:
    """The outcome of a training that failed for this reason."""
    return Outcome(math.nan, math.nan, 0.0, why)


def load_all(settings: CandidateSettings, progress: Progress | None = None) -> Images:
    """The training and test images; it warns of copies, which are left out."""
    images = splits.load_all(settings, (settings.test_images,), progress)
    splits.warn_of_copies(images, (settings.test_images,))
    return images


def how_trained(settings: CandidateSettings, source: str, digest: str = "") -> dict[str, str]:
    """The lines above a table about the recipe and the images, which come from ``source``.

    Trainings of two tables are comparable only if all of these lines are equal.
    """
    s = settings
    augmentation = [f"shifts of up to {s.shift} px"] * bool(s.shift) + ["mirroring"] * s.flip
    augmentation += [f"crops of {s.crop_scale:g} of the area or more"] * (s.crop_scale < 1)
    augmentation += [f"colour jitter of {s.color_jitter:g}"] * bool(s.color_jitter)
    steps = f"{s.steps} steps" + f" (times {s.paces})" * bool(s.paces)
    # The source of fractals has their seed; of other images the seed draws and parts some.
    draw = "" if are_fractals(s.images) else f", drawn with seed {s.seed}"
    fitted = "" if s.fit == "crop" else f" by --fit {s.fit}"
    draw += f", SHA-256 {digest[:16]}…" * bool(draw and digest)
    return {
        "recipe": (
            f"{'Muon' if s.optimizer == 'muon' else 'AdamW'}, {steps} of {s.batch_size} images, "
            f"learning rate "
            f"{s.learning_rate:g} ({100 * s.warmup:g}% linear warm-up, then a cosine), weight "
            f"decay {s.weight_decay:g}, label smoothing {s.label_smoothing:g}, gradient norm at "
            f"most {s.clip:g}, {' and '.join(augmentation) or 'no augmentation'}"
            f"{', Xavier initialisation' * (s.init == 'xavier')}"
            f"{f', balance {s.balance}' * (s.balance != 'none')}; the same for all"
        ),
        "images": (
            f"{legible(source)}; {s.image_size} px{fitted}, {s.train_images} to train on and "
            f"{s.test_images} others to test on{draw}"
        ),
    }


def accuracies_in_words(balance: str) -> str:
    """What the accuracies of a table are."""
    kind = "top-1" if balance == "none" else "balanced accuracy"
    return f"{kind} on the test images after the last step, per cent"
