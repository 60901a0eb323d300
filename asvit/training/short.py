"""Short trainings from scratch on images in memory, by which architectures are compared."""

import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from asvit.core.codec import Nullable
from asvit.data import load_images
from asvit.data.base import Progress
from asvit.data.copies import distinct, without_copies
from asvit.data.sources import Images
from asvit.data.statistics import standardised
from asvit.executors import one_thread
from asvit.models.blocks import is_linear
from asvit.spaces import build
from asvit.training.augmentation import Augmentation, Draws, augmented, draw_batch, drawn_ahead
from asvit.training.distributed import ProcessGroup
from asvit.training.loaders import balanced_order
from asvit.training.metrics import Accuracy, evaluate
from asvit.training.optimizers import Schedule, make_optimizer, parameter_groups
from asvit.training.precision import fast_layout
from asvit.training.short_settings import CandidateSettings, SupernetSettings, images_of
from asvit.training.trainer import Diverged, Row, Step, Task, Trainer
from proxies.evaluation import FAILURES, check_device, seed_for
from proxies.messages import fault, out_of_memory
from proxies.text import legible, shown

logger = logging.getLogger(__name__)

LabelledTensors = tuple[Tensor, Tensor]  # images [n, C, H, W] and labels [n] int64
ShortSettings = CandidateSettings | SupernetSettings

_FEW_PIXELS = 32 * 32  # of an image
#: Weights of a convolution below this share of Xavier's spread are too small; PyTorch's own and
#: those of residual networks are above.
_SMALL = 0.4
_TESTED = 256  # images of a batch to test on
_WARMUP = 0.1  # share of the steps of a supernet


@dataclass(frozen=True)
class Recipe:
    """A training recipe: AdamW or Muon, linear warm-up, cosine decay to 0.

    References:
        Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", arXiv:1711.05101.
        Szegedy et al. 2016, arXiv:1512.00567: label smoothing.
    """

    steps: int
    batch_size: int = 64  # images
    learning_rate: float = 2e-3  # the highest
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 0.05  # decoupled, of matrices; vectors (norms, biases) have none
    warmup: int = 20  # steps over which the learning rate rises
    label_smoothing: float = 0.1  # share of the target that is spread over all classes
    clip: float = 1.0  # largest gradient norm
    shift: int = 0  # largest random shift along each axis, in pixels
    flip: bool = False  # half of the images, at random
    crop_scale: float = 1.0  # smallest share of an image's area in a random crop
    color_jitter: float = 0.0  # strength of random brightness, contrast and saturation
    # Of uneven classes equally many images of each.
    balance: Literal["none", "sampling"] = "none"

    @classmethod
    def of(cls, settings: ShortSettings, steps: int) -> Self:
        """That of settings, for a training of so many steps."""
        names = {field.name for field in fields(cls)} - {"steps", "warmup"}
        own = {name: getattr(settings, name) for name in names if hasattr(settings, name)}
        return cls(steps, warmup=round(getattr(settings, "warmup", _WARMUP) * steps), **own)

    @property
    def augmentation(self) -> Augmentation:
        """That of the images."""
        none: Any = {"auto_augment": "none", "erasing": 0.0, "mixup": 0.0, "cutmix": 0.0}
        return replace(Augmentation.of(self), flip=0.5 * self.flip, **none)


class RecipeTask(Task[Row]):
    """A task of images in memory and a recipe; draws are made on the CPU for all devices."""

    def __init__(
        self, network: nn.Module, train: LabelledTensors, recipe: Recipe, *, seed: int, steps: int
    ) -> None:
        self.network, self.recipe, self.seed, self.steps = network, recipe, seed, steps
        self.batch_size, self.clip = recipe.batch_size, recipe.clip
        self.learning_rate = recipe.learning_rate
        self.images, self.labels = train
        self.augmentation = recipe.augmentation

    def draw_images(self, indices: Tensor, generator: torch.Generator) -> Draws:
        """Which images are in a batch, and draws for each of them."""
        drawn = draw_batch(len(indices), self.images.shape[1:], self.augmentation, generator)
        return {"indices": indices, **drawn}

    def drawn(self, draw: Callable[[int], Draws], steps: range) -> Iterator[LabelledTensors]:
        """The images and labels of the batches that :meth:`draw_images` has drawn for steps."""
        for draws in drawn_ahead(draw, steps, self.images.device):
            indices = draws["indices"]
            yield augmented(self.images[indices], draws), self.labels[indices]

    def loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean cross-entropy."""
        return F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing), {}

    def optimizer(self, device: torch.device) -> torch.optim.Optimizer:
        groups = parameter_groups(self.network, self.recipe.weight_decay)
        name = self.recipe.optimizer
        return make_optimizer(name, groups, learning_rate=self.learning_rate, device=device)

    def schedule(self, epochs: int) -> Callable[[int], float]:
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
        super().__init__(network, train, recipe, seed=seed, steps=recipe.steps)

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
        return self.loss(network(images), labels)

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
    classes = None if recipe.balance == "none" else int(test[1].max()) + 1
    found = _evaluated(model, *test, classes)
    return FitResult(found.top1 if found.balanced is None else found.balanced, tuple(losses))


def accuracy(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy of ``model`` in evaluation mode, per cent."""
    return _evaluated(model, pixels, labels).top1


def _evaluated(
    model: nn.Module, pixels: Tensor, labels: Tensor, classes: int | None = None
) -> Accuracy:
    batches = zip(pixels.split(_TESTED), labels.split(_TESTED), strict=True)
    processes = ProcessGroup(pixels.device)
    return evaluate(model, batches, processes, precision="auto", classes=classes)


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
        images = images or load_all(settings, (settings.test_images,))
        self.num_classes, self.in_chans = len(images.classes), images.channels
        self.provenance = {"source": images.source, "digest": images.digest}
        self._settings = settings
        self.device = device
        self._test, self._train = (
            (pixels.to(device), labels.to(device))
            for pixels, labels in split_images(images, (settings.test_images,))
        )

    def __call__(self, training: Training) -> Outcome:
        """Train one network from scratch and test it.

        Cost: three forward passes for each image of each step.
        """
        started = time.monotonic()
        seed = seed_for(self._settings.seed, training.architecture, training.seed)
        with one_thread(self.device.partition(":")[0]):
            model = self._fresh(training.architecture, seed)
            recipe = Recipe.of(self._settings, self._settings.steps)
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


def how_trained(settings: CandidateSettings, source: str, digest: str = "") -> dict[str, str]:
    """The lines above a table about the recipe and the images, which come from ``source``.

    Trainings of two tables are comparable only if all of these lines are equal.
    """
    values = asdict(settings)
    del values["data"]
    recipe = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
    sha = f", SHA-256 {digest[:16]}…" if digest else ""
    return {"recipe": f"{recipe}; the same for all", "images": f"{legible(source)}{sha}"}


def accuracies_in_words(balance: str) -> str:
    """What the accuracies of a table are."""
    kind = "top-1" if balance == "none" else "balanced accuracy"
    return f"{kind} on the test images after the last step, per cent"


def load_all(
    settings: ShortSettings, held_out: tuple[int, ...], progress: Progress | None = None
) -> Images:
    """The images to train on, and so many others for other parts.

    It warns of those that :func:`split_apart` leaves out.
    """
    images = load_images(
        images_of(settings),
        count=settings.train_images + sum(held_out),
        image_size=settings.image_size,
        seed=settings.seed,
        fit=settings.fit,
        ground=settings.ground,
        progress=progress,
    )
    if copies := len(images.labels) - sum(map(len, split_apart(images, held_out))):
        logger.warning(
            "%d of %d images are equal to one to test or validate on, and are left out: %s",
            *(copies, len(images.labels), images.source),
        )
    return images


def split_images(images: Images, sizes: tuple[int, ...]) -> list[LabelledTensors]:
    """Parts of images as :func:`split_apart` makes them; the last one is to train on."""
    labels = images.labels.numpy()
    if len(np.unique(labels)) < 2:
        raise ValueError(f"training needs images of two classes or more; {images.source} has one")
    parts = split_apart(images, sizes)
    if not all(map(len, parts[:-1])):
        raise ValueError(
            f"no image is left to test or validate on: each of {images.source} is equal to one of "
            "another class; check the classes"
        )
    missing = np.setdiff1d(labels, labels[parts[-1]])
    if len(missing):
        raise ValueError(
            f"class {shown(images.classes[missing[0]])} has no image to train on "
            f"({len(parts[-1])} of {len(labels)} images of {images.source} are); use more "
            "training images"
        )
    pixels = images.pixels
    if images.own_statistics:  # which are to be those of the images to train on
        pixels = standardised(pixels, pixels[torch.from_numpy(parts[-1])], images.source)
    return [(pixels[part], images.labels[part]) for part in map(torch.from_numpy, parts)]


def split_apart(images: Images, sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """As :func:`split`, with no two equal images in different parts.

    Held-out images are distinct, their copies are in no part, and equal images with several labels
    are only trained on. Where there are any, parts are smaller, by the share that is distinct.
    """
    labels, groups = images.labels.numpy(), images.groups
    candidates = distinct(labels, groups)
    smaller = [-(-size * len(candidates) // len(labels)) for size in sizes]
    *others, _ = split(labels[candidates], tuple(smaller))
    held = [candidates[part] for part in others]
    return [*held, without_copies(groups, np.concatenate(held))]


def split(labels: NDArray[np.int64], sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Stratified split of ``[n]`` labels: all parts have about the same share of every class.

    The last part takes what the sizes of the others leave. Indices of each part ascend.
    """
    order = np.argsort(labels, kind="stable")
    _, counts = np.unique(labels, return_counts=True)
    # position of each item within its class, in (0, 1)
    position = np.concatenate([np.empty(0), *((np.arange(n) + 0.5) / n for n in counts)])
    spread = order[np.argsort(position, kind="stable")]
    return [np.sort(part) for part in np.split(spread, np.cumsum(sizes))]
