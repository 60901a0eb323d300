"""Short training from scratch on images in memory, with one plain recipe."""

import math
from collections.abc import Collection, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.lr_scheduler import LambdaLR

from asvit.models.blocks import is_linear
from asvit.training.balance import balanced_order, class_weights
from asvit.training.device_queue import Draws, UnreadLosses, drawn_ahead
from asvit.training.layout import fast_layout, use_fast_convolutions
from asvit.training.metrics import balanced_accuracies, weighted_loss
from asvit.training.muon import Muon
from asvit.training.precision import arithmetic, autocast
from asvit.training.short_batches import LabelledTensors as LabelledTensors
from asvit.training.short_batches import batch_of, draw_batch
from asvit.training.short_settings import Recipe as Recipe
from asvit.training.step_graph import StepGraph

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
    losses: tuple[float, ...]  # of every step, nats
    reason: str | None = None  # why training failed


def fit(
    model: nn.Module, train: LabelledTensors, test: LabelledTensors, recipe: Recipe, *, seed: int
) -> FitResult:
    """Train ``model`` in place and test it; training that diverges ends with a reason.

    The model, ``[B, C, H, W] -> [B, classes]``, stays on its device, where the images are. The
    seed is that of their order, augmentation and dropout. On a CPU, equal seeds (and equal initial
    weights, images and threads) give equal bits.
    """
    device = train[0].device
    use_fast_convolutions(model, device)
    # With few tokens, plain attention is faster on a CPU than the fused kernel.
    plain = device.type == "cpu" and train[0][0, 0].numel() <= _FEW_PIXELS
    kernel = sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()
    cuda = [device] if device.type == "cuda" else []
    numbers = arithmetic(device, "auto", passes=recipe.steps)
    with torch.random.fork_rng(cuda), kernel, numbers:
        torch.manual_seed(seed)  # dropout and drop-path
        losses, reason = _train(model, train, recipe, torch.Generator().manual_seed(seed))
    if reason is not None:
        return FitResult(math.nan, losses, reason)
    measure = accuracy if recipe.balance == "none" else balanced_accuracy
    return FitResult(measure(model, *test), losses)


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


@torch.inference_mode()
def accuracy(model: nn.Module, pixels: Tensor, labels: Tensor, *, batch_size: int = 256) -> float:
    """Top-1 accuracy of ``model`` in evaluation mode, per cent."""
    return 100 * int(_right(model, pixels, labels, batch_size).sum()) / len(labels)


@torch.inference_mode()
def balanced_accuracy(
    model: nn.Module, pixels: Tensor, labels: Tensor, *, batch_size: int = 256
) -> float:
    """Mean over classes of the top-1 accuracy of ``model`` in evaluation mode, per cent."""
    right, labels = _right(model, pixels, labels, batch_size).cpu(), labels.cpu()
    by_class = [labels.bincount(), labels.bincount(weights=right.double())]
    (share,) = balanced_accuracies(torch.stack(by_class))
    return share


def _right(model: nn.Module, pixels: Tensor, labels: Tensor, batch_size: int) -> Tensor:
    """Whether ``model`` takes each image for its class, ``[n]``."""
    model.eval()
    batches = zip(pixels.split(batch_size), labels.split(batch_size), strict=True)
    with arithmetic(pixels.device, "auto"), autocast(pixels.device, "auto"):
        return torch.cat(
            [model(fast_layout(images)).argmax(dim=1) == targets for images, targets in batches]
        )


def _train(
    model: nn.Module, train: LabelledTensors, recipe: Recipe, generator: torch.Generator
) -> tuple[tuple[float, ...], str | None]:
    """Train ``model``; returns the losses, and why training failed."""
    optimizer = torch.optim.AdamW(
        parameter_groups(model, recipe.weight_decay), lr=recipe.learning_rate, fused=True
    )
    if recipe.optimizer == "muon":
        optimizer = Muon(optimizer.param_groups)
    schedule = LambdaLR(optimizer, lambda step: lr_factor(step, recipe))
    losses: list[float] = []
    device = train[0].device
    unread = UnreadLosses(device)
    weights = _class_weights(train[1]) if recipe.balance == "weights" else None
    model.train()

    def take(pixels: Tensor, labels: Tensor) -> Tensor:
        with autocast(device, "auto"):
            loss = _loss(model(pixels), labels, recipe, weights)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    step = StepGraph(take, model, optimizer, steps=recipe.steps, device=device)
    with closing(step), step.running():
        for number, batch in enumerate(_batches(*train, recipe, generator), 1):
            if unread.add(step(*batch)) or number == recipe.steps:
                for value in unread.take().tolist():
                    losses.append(value)
                    if not math.isfinite(value):
                        return tuple(losses), f"the loss became {value} in step {len(losses)}"
            schedule.step()
    if not torch.stack([each.isfinite().all() for each in model.parameters()]).all():
        return tuple(losses), f"after step {recipe.steps} the weights are infinite or NaN"
    return tuple(losses), None


def _class_weights(labels: Tensor) -> Tensor:
    """Weights of the classes of ``labels``, up to the largest."""
    weights = class_weights(labels.cpu().numpy(), int(labels.max()) + 1)
    return torch.from_numpy(weights).to(labels.device)


def _loss(logits: Tensor, labels: Tensor, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Mean cross-entropy of a batch; with class weights, whatever classes it has."""
    smoothing = recipe.label_smoothing
    if weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    whole = F.pad(weights, (0, logits.shape[1] - len(weights)), value=1.0)
    return weighted_loss(logits, labels, whole, label_smoothing=smoothing)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """The trainable parameters in two groups: with and without weight decay.

    Without are vectors, and what the network or a part of it spares, such as position embeddings.
    """
    spared = set[int]()
    for module in model.modules():
        if names := cast("Collection[str]", getattr(module, "no_weight_decay", set)()):
            spared |= {id(weight) for name, weight in module.named_parameters() if name in names}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[parameter.ndim > 1 and id(parameter) not in spared].append(parameter)
    return [
        {"params": groups[decays], "weight_decay": weight_decay if decays else 0.0}
        for decays in (True, False)
    ]


def lr_factor(step: int, recipe: Recipe) -> float:
    """The learning rate of ``step``, from 0, as a fraction of the highest."""
    if step < recipe.warmup:
        return (step + 1) / (recipe.warmup + 1)
    progress = (step - recipe.warmup) / max(recipe.steps - recipe.warmup, 1)
    return (1 + math.cos(math.pi * progress)) / 2


def _batches(
    pixels: Tensor, labels: Tensor, recipe: Recipe, generator: torch.Generator
) -> Iterator[LabelledTensors]:
    """The batches of all steps; every image comes once before any repeats.

    If classes are sampled, that holds within a class. Batches are drawn on the CPU, so that they
    are the same for all devices.
    """
    queue, classes = torch.empty(0, dtype=torch.int64), labels.cpu()

    def draw(_step: int) -> Draws:
        nonlocal queue
        while len(queue) < recipe.batch_size:
            queue = torch.cat([queue, _order(classes, recipe, generator)])
        indices, queue = queue.split([recipe.batch_size, len(queue) - recipe.batch_size])
        return draw_batch(indices, pixels, recipe, generator)

    for draws in drawn_ahead(draw, range(recipe.steps), labels.device):
        images, targets = batch_of(pixels, labels, draws)
        yield fast_layout(images), targets


def _order(labels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Shuffled indices of as many images as there are; of each class alike if it is sampled."""
    if recipe.balance != "sampling":
        return torch.randperm(len(labels), generator=generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    indices, _ = balanced_order(labels.numpy(), len(labels), np.random.default_rng(seed))
    return torch.from_numpy(indices)
