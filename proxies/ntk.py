"""The neural tangent kernel of a batch and its condition number.

``Θ = J Jᵀ``, where row i of J is the gradient, by every weight, of the summed pooled feature of
image i. Neither J nor any per-sample gradient of a whole network is ever formed.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from proxies.errors import first_line
from proxies.features import measured, pooled_feature, reference_tensor
from proxies.fetching import fetch
from proxies.forward_mode import ExplicitAttention
from proxies.memory import first_that_fits, in_chunks, out_of_memory
from proxies.stacked_weight_uses import StackedWeightUses
from proxies.stacking import Stack
from proxies.substitution import call_with, stand_ins
from proxies.weight_uses import WeightUses

_WITHOUT_WEIGHTS = "{} has no parameter with 'weight' in its name"


def ntk_matrix(model: nn.Module, images: Tensor, *, final_norm: bool = False) -> Tensor:
    """Kernel ``Θ`` of a batch, ``[n, n]`` float64, on the CPU.

    One forward and one backward pass for the batch; the device is waited for once, at the end.
    Every parameter with "weight" in its name counts, where it reaches the pooled feature;
    normalisations are kept, the final one apart.

    Args:
        model: Any module whose samples do not interact.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.
        final_norm: Whether the feature is what the head reads, behind the final normalisation;
            the measure's definition takes it in front of that.

    Raises:
        ValueError: If there is no image, or no weight reaches the feature, or a weight is used in
            a way whose per-sample gradient cannot be formed.
    """
    if not len(images):
        raise ValueError("the kernel of 0 images is empty; use at least 1")
    images = images.to(reference_tensor(model))
    state = measured(model, norms="kept", final_norm=final_norm)
    with state, _only_weights(model) as weights:
        return _kernel_in_pieces(_Network(model, weights), images)


def ntk_spectrum(model: nn.Module, images: Tensor, *, final_norm: bool = False) -> Tensor:
    """Eigenvalues of the kernel, ``[n]`` float64, ascending; arguments as :func:`ntk_matrix`."""
    kernel = ntk_matrix(model, images, final_norm=final_norm)
    if not kernel.isfinite().all():
        raise ValueError("the kernel is not finite")
    spectrum: Tensor = torch.linalg.eigvalsh(kernel)
    return spectrum


def ntk_condition_number(model: nn.Module, images: Tensor, *, final_norm: bool = False) -> float:
    """Condition number κ_Θ = λmax/λmin of the kernel; lower is better, 1 is the best.

    NaN when the kernel is singular to working precision: the smallest eigenvalue is then rounding
    error. Arguments and errors as :func:`ntk_matrix`.

    References:
        As-ViT, arXiv:2202.11921, section 3; Xiao et al. 2020, arXiv:1912.13053.
    """
    spectrum = ntk_spectrum(model, images, final_norm=final_norm)
    return _condition_number(spectrum, reference_tensor(model).dtype)


def ntk_condition_numbers(
    models: Sequence[nn.Module], images: Tensor, *, final_norm: bool = False
) -> list[float]:
    """:func:`ntk_condition_number` of several networks of one architecture, in one pass.

    Equal to the values one by one up to rounding, which a condition number enlarges. Arguments and
    errors as :func:`ntk_matrices`; fewer networks at a time where memory runs out. NaN also where
    a kernel is not finite.
    """

    def kernels(rows: slice) -> Tensor:
        return ntk_matrices(models[rows], images, final_norm=final_norm)

    key = ("the tangent kernels", len(models), tuple(images.shape), str(images.device))
    dtype = reference_tensor(models[0]).dtype
    found = in_chunks(kernels, len(models), key=key)
    finite = found.isfinite().all(2).all(1)
    spectra = torch.linalg.eigvalsh(found.where(finite[:, None, None], 1))
    return [
        _condition_number(spectrum, dtype) if right else math.nan
        for spectrum, right in zip(spectra, finite.tolist(), strict=True)
    ]


def ntk_matrices(
    models: Sequence[nn.Module], images: Tensor, *, final_norm: bool = False
) -> Tensor:
    """:func:`ntk_matrix` of several networks of one architecture at once, ``[networks, n, n]``.

    Takes as many times the memory as there are networks.

    Raises:
        ValueError: As :func:`ntk_matrix`, or if the networks differ in more than their tensors.
        RuntimeError: If the architecture cannot be vectorised over its weights.
    """
    if not len(images):
        raise ValueError("the kernel of 0 images is empty; use at least 1")
    images = images.to(reference_tensor(models[0]))
    stack = Stack(models)
    weights = {n: stack.of(p) for n, p in models[0].named_parameters() if "weight" in n}
    if not weights:
        raise ValueError(_WITHOUT_WEIGHTS.format(type(models[0]).__name__))
    for weight in weights.values():
        weight.requires_grad_()
    with ExitStack() as states:
        for model in models:
            states.enter_context(measured(model, norms="kept", final_norm=final_norm))
        return _kernel(_Stacked(stack, weights), images)


def _condition_number(spectrum: Tensor, dtype: torch.dtype) -> float:
    """λmax/λmin of ascending eigenvalues; NaN if the smallest is rounding error in ``dtype``."""
    largest, smallest = float(spectrum[-1]), float(spectrum[0])
    if not smallest > len(spectrum) * torch.finfo(dtype).eps * largest:
        return math.nan
    return largest / smallest


class _Subject(Protocol):
    """What a kernel is formed of: a network, or several at once."""

    @property
    def weights(self) -> Mapping[str, Tensor]: ...

    @property
    def name(self) -> str: ...

    def look(self, images: Tensor) -> tuple[Tensor, WeightUses]:
        """The pooled features, and the uses of weights on the way to them."""
        ...

    def gram_by_vmap(self, images: Tensor, name: str) -> Tensor:
        """Gram matrix of one weight, however it is used."""
        ...


@dataclass(frozen=True)
class _Stacked:
    stack: Stack
    weights: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        return type(self.stack.models[0]).__name__

    def look(self, images: Tensor) -> tuple[Tensor, WeightUses]:
        with StackedWeightUses(self.stack, self.weights, images) as uses:
            feature = self.stack.run(pooled_feature, images, shared=True, see=uses.see)
            return feature, uses

    def gram_by_vmap(self, images: Tensor, name: str) -> Tensor:
        return torch.stack([_gram_by_vmap(model, images, name) for model in self.stack.models])


@dataclass(frozen=True)
class _Network:
    model: nn.Module
    weights: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        return type(self.model).__name__

    def look(self, images: Tensor) -> tuple[Tensor, WeightUses]:
        with WeightUses(self.weights, images) as uses:
            return pooled_feature(self.model, images), uses

    def gram_by_vmap(self, images: Tensor, name: str) -> Tensor:
        return _gram_by_vmap(self.model, images, name)


def _kernel(subject: _Subject, images: Tensor) -> Tensor:
    with torch.enable_grad():
        feature, uses = subject.look(images)
        total = feature.sum()
        if not total.requires_grad:
            raise ValueError(f"no weight of {subject.name} reaches its pooled feature")
        mixed, doubts = _mixed_up(subject, images, uses)
        weights = subject.weights
        # Only uses without a rule are still in the graph, and have a gradient here.
        others = torch.autograd.grad(total, [uses.seed, *weights.values()], allow_unused=True)[1:]
    uses.finish()
    without_rule = {name for name, grads in zip(weights, others, strict=True) if grads is not None}
    grams = uses.grams
    _replace(grams, mixed | without_rule, subject, images)
    # The only wait for the device: the kernel, and whether it can be trusted.
    kernel, *trusted = fetch([_sum(grams), *(right for _, right in doubts)])
    wrong = {name for (name, _), right in zip(doubts, trusted, strict=True) if not right}
    if wrong:
        _replace(grams, wrong, subject, images)
        return _sum(grams).cpu()
    return kernel


def _sum(grams: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(grams.values())).sum(0)


def _replace(
    grams: dict[str, Tensor], names: Collection[str], subject: _Subject, images: Tensor
) -> None:
    """Take some weights by themselves; in the order of the weights, as the sum depends on it."""
    for name in subject.weights:
        if name in names:
            grams[name] = subject.gram_by_vmap(images, name)


def _mixed_up(
    subject: _Subject, images: Tensor, uses: WeightUses
) -> tuple[set[str], list[tuple[str, Tensor]]]:
    """Weights applied to something whose first axis is not made of the samples, one by one.

    Windows, or tokens, that follow each other sample by sample are fine; tables that no sample
    enters, or another order, are not. What a single image gives tells them apart, by its length
    and, where that is a multiple of one, by its values.

    Returns:
        Weights whose uses are known to be mixed up, and pairs of a weight and whether it is fine,
        a boolean that is still on the device.
    """
    with torch.no_grad():
        single = subject.look(images[:1])[1]
    pairs = zip(uses.lengths, single.lengths, strict=True)
    mixed = {name for (name, length), (_, one) in pairs if one * len(images) != length}
    doubts: list[tuple[str, Tensor]] = []
    for number, x in uses.folded.items():
        name, alone = uses.lengths[number][0], single.folded.get(number)
        if (
            alone is None
            or alone.shape[1] * len(images) != x.shape[1]
            or alone.shape[2:] != x.shape[2:]
        ):
            mixed.add(name)
        elif name not in mixed:
            doubts.append((name, _leads(alone, x)))
    return mixed, doubts


def _leads(alone: Tensor, x: Tensor) -> Tensor:
    """Whether what one image gives is the first of the equal parts of what all give.

    Both are ``[networks, m, ...]``; it has to be so for every network.
    """
    difference = (x[:, : alone.shape[1]] - alone).abs().flatten(1).amax(1)
    right: Tensor = (difference <= 1e-3 * alone.abs().flatten(1).amax(1)).all()
    return right


def _kernel_in_pieces(network: _Network, images: Tensor) -> Tensor:
    """The kernel at once, or pair by pair of ever smaller pieces while memory runs out."""

    def attempt(pieces: int) -> Tensor:
        if pieces == 1:
            return _kernel(network, images)
        return _kernel_by_pairs(network, images, pieces)

    # Two pieces, or three, would not make a pair smaller than the batch by much.
    choices = [1, *(pieces for k in range(2, 11) if (pieces := 1 << k) <= len(images))]
    key = ("the tangent kernel", tuple(images.shape), str(images.device))
    return first_that_fits(attempt, choices, key=key)


def _kernel_by_pairs(network: _Network, images: Tensor, pieces: int) -> Tensor:
    groups = torch.arange(len(images)).tensor_split(pieces)
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)
    for first in range(pieces):
        for second in range(first + 1, pieces):
            rows = torch.cat((groups[first], groups[second]))
            kernel[rows[:, None], rows] = _kernel(network, images[rows.to(images.device)])
    return kernel


def _gram_by_vmap(model: nn.Module, images: Tensor, name: str) -> Tensor:
    """Gram matrix of one weight, however it is used, at the price of a pass of its own."""
    feature = _Feature(model)
    parameter = model.get_parameter(name)

    def scalar(weight: Tensor, image: Tensor) -> Tensor:
        tensors = stand_ins(feature, lambda tensor: weight if tensor is parameter else None)
        return cast("Tensor", call_with(feature, tensors, image[None])).sum()

    try:
        with torch.no_grad(), ExplicitAttention():
            each = vmap(grad(scalar), in_dims=(None, 0))
            gradients = each(parameter.detach(), images).flatten(1)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise ValueError(f"no per-sample gradient of {name}: {first_line(error)}") from error
    gram: Tensor = gradients @ gradients.T
    return gram.double()


class _Feature(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return pooled_feature(self.model, images)


@contextmanager
def _only_weights(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Let gradients reach the parameters that count, and no other; undo that at the end."""
    weights: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if "weight" in n}
    if not weights:
        raise ValueError(_WITHOUT_WEIGHTS.format(type(model).__name__))
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in weights)
        yield weights
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before[name])
