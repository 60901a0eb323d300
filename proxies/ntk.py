"""The neural tangent kernel of a batch and its condition number.

``Θ = J Jᵀ``, where row i of J is the gradient of the summed pooled feature of image i with respect
to every weight. Neither J nor any per-sample gradient of a whole network is ever formed.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from proxies.features import input_for, is_norm, measured, pooled_feature, reference_tensor
from proxies.forward_mode import ExplicitAttention
from proxies.functional import Stack, call_with_tensors, substitutes
from proxies.memory import to_host
from proxies.messages import first_line, out_of_memory
from proxies.per_sample_gradients import GramAccumulator
from proxies.registry import register_measure
from proxies.samples import draws_numbers, generator_states, independent_curve, same_rows

# Share of a kernel's trace that others than the gains of norms must hold.
_LEAST_HELD = 0.01


def ntk_matrix(model: nn.Module, images: Tensor) -> Tensor:
    """Kernel ``Θ`` of a batch, ``[n, n]`` float64, on the CPU.

    One forward and one backward pass for the batch, and one device synchronisation, at the end.
    Every parameter with "weight" in its name counts if it reaches the pooled feature.
    Normalisations are kept, except for the final one.

    Args:
        model: Any module whose samples do not interact.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.

    Raises:
        ValueError: If there is no image, no weight reaches the feature, or the per-sample gradient
            of a weight cannot be formed.
    """
    return ntk_kernels([model], images)[0, 0]


def ntk_spectrum(model: nn.Module, images: Tensor) -> Tensor:
    """Eigenvalues of the kernel, ``[n]`` float64, ascending; arguments as :func:`ntk_matrix`."""
    return _spectra(ntk_matrix(model, images))


@register_measure(
    "condition number κ_Θ of the neural tangent kernel of a batch",
    better="lower",
    paper="As-ViT, arXiv:2202.11921",
    undefined="the kernel is singular",
    check=independent_curve,
    checks_itself=True,
    together=lambda models, inputs: ntk_condition_numbers(models, inputs[0].images),
)
def ntk_condition_number(model: nn.Module, images: Tensor) -> float:
    """Condition number κ_Θ = λmax/λmin of the kernel; lower is better, 1 is the best.

    NaN if the kernel is singular to working precision. Arguments as :func:`ntk_matrix`.

    Raises:
        ValueError: As :func:`ntk_matrix`, or if the gains of norms hold more than 99 % of the
            kernel's trace: a norm at the end of the network hides what is in front of it.

    References:
        As-ViT, arXiv:2202.11921, section 3; Xiao et al. 2020, arXiv:1912.13053.
    """
    return ntk_condition_numbers([model], images)[0]


def ntk_condition_numbers(models: Stack | Sequence[nn.Module], images: Tensor) -> list[float]:
    """:func:`ntk_condition_number` of networks of one architecture, in one pass.

    Equal to the separate values up to rounding, which a condition number amplifies.
    """
    stack = Stack.of(models)
    kernels, others = ntk_kernels(stack, images).unbind(1)
    spectra = _spectra(kernels)
    held, whole = (x.diagonal(dim1=-2, dim2=-1).sum(-1) for x in (others, kernels))
    if (held < _LEAST_HELD * whole).any():
        raise ValueError(
            f"norm gains hold {1 - (held / whole).min():.1%} of the kernel's trace: "
            f"{type(stack.first).__name__} ends in a normalisation, which hides all other weights"
        )
    dtype = reference_tensor(stack.first).dtype
    return [condition_number(spectrum, dtype) for spectrum in spectra]


def ntk_kernels(models: Stack | Sequence[nn.Module], images: Tensor) -> Tensor:
    """Kernels of networks of one architecture, ``[networks, 2, n, n]`` float64, on the CPU.

    Each has, beside it, the part that is not due to gains of norms. Errors as
    :func:`proxies.expansion.curve_velocities`.
    """
    stack = Stack.of(models)
    if not len(images):
        raise ValueError("the kernel of 0 images is empty; use at least 1")
    # Detached: the backward pass seeks weights, and would not reach those whose outputs have a
    # gradient only because of the images.
    images = input_for(stack.first, images.detach())
    names = [name for name, _ in stack.first.named_parameters() if "weight" in name]
    if not names:
        kind = type(stack.first).__name__
        raise ValueError(f"{kind} has no parameter with 'weight' in its name")
    with measured(stack.first, norms="kept"):
        weights = {name: stack.tensors[name] for name in names}
        with _require_gradients(weights.values(), stack.tensors.values()):
            return _kernels(stack, weights, images)


def _spectra(kernels: Tensor) -> Tensor:
    if not kernels.isfinite().all():
        raise ValueError("the kernel is not finite")
    return cast("Tensor", torch.linalg.eigvalsh(kernels))


def condition_number(spectrum: Tensor, dtype: torch.dtype) -> float:
    """λmax/λmin of ascending eigenvalues; NaN if the smallest is rounding error in ``dtype``."""
    largest, smallest = float(spectrum[-1]), float(spectrum[0])
    if not smallest > len(spectrum) * torch.finfo(dtype).eps * largest:
        return math.nan
    return largest / smallest


def _kernels(stack: Stack, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    kind = type(stack.first).__name__
    with torch.enable_grad():
        feature, uses = _forward(stack, weights, images)
        total = feature.sum()
        if not total.requires_grad:
            raise ValueError(f"no weight of {kind} reaches its pooled feature")
        # How a network treats its samples does not depend on its weights: one shows it for all.
        first = stack if len(stack) == 1 else Stack([stack.first])
        own = {name: first.tensors[name] for name in weights}
        states = generator_states(images.device)
        with torch.no_grad():
            alone, single = _forward(first, own, images[:1])
        if generator_states(images.device) != states:
            raise ValueError(draws_numbers(stack.first))
        mixed, to_verify = _mixed_samples(len(images), uses, single)
        # Uses with a rule are detached, so only uses without one have a gradient here.
        others = torch.autograd.grad(total, [uses.seed, *weights.values()], allow_unused=True)[1:]
    uses.finish()
    without_rule = {name for name, grads in zip(weights, others, strict=True) if grads is not None}
    grams = uses.grams
    _recompute(grams, mixed | without_rule, stack, weights, images)
    # The only device synchronisation: the kernels, and whether their terms are valid.
    checks = [same_rows(alone[0], feature[0, :1]), *(is_valid for _, is_valid in to_verify)]
    norms = [item for item in stack.first.named_modules() if is_norm(item[1])]
    gains = {name for path, norm in norms for name, _ in norm.named_parameters(path)}
    kernels, independent, *valid = to_host([_sums(grams, gains), *checks])
    if not independent:
        raise ValueError(
            f"{kind} gives an image alone another feature than in a batch: its samples interact, "
            "or it is not reproducible; a measure needs neither"
        )
    wrong = {name for (name, _), is_valid in zip(to_verify, valid, strict=True) if not is_valid}
    if wrong:
        _recompute(grams, wrong, stack, weights, images)
        return _sums(grams, gains).cpu()
    return kernels


def _forward(
    stack: Stack, weights: Mapping[str, Tensor], images: Tensor
) -> tuple[Tensor, GramAccumulator]:
    """The pooled features ``[networks, n, F]``, and the recorded uses of weights."""
    with GramAccumulator(stack, weights, images) as uses:
        return stack.run(pooled_feature, images, shared=True, on_tensors=uses.watch), uses


def _sums(grams: Mapping[str, Tensor], gains: Collection[str]) -> Tensor:
    """The kernels, and the part of them that is not due to ``gains``, ``[networks, 2, n, n]``."""
    kernel = torch.stack(list(grams.values())).sum(0)
    others = [gram for name, gram in grams.items() if name not in gains]
    part = torch.stack(others).sum(0) if others else torch.zeros_like(kernel)
    return torch.stack([kernel, part], 1)


def _recompute(
    grams: dict[str, Tensor],
    names: Collection[str],
    stack: Stack,
    weights: Mapping[str, Tensor],
    images: Tensor,
) -> None:
    """Form the terms of some weights by vmap, in order: the sum's rounding depends on it."""
    for name in weights:
        if name not in names:
            continue
        parts = []
        for model in stack.models:
            ready = model is stack.first
            with nullcontext() if ready else measured(model, norms="kept"):
                parts.append(_gram_by_vmap(model, images, name))
        grams[name] = torch.stack(parts)


def _mixed_samples(
    samples: int, uses: GramAccumulator, single: GramAccumulator
) -> tuple[set[str], list[tuple[str, Tensor]]]:
    """Find weights whose input does not have the samples in order along its first axis.

    Consecutive windows or tokens of each sample are fine; a table or another order is not. A pass
    with a single image shows it, by the lengths of the inputs or, where these are multiples of the
    sample count, by their values: the second result has such weights, and whether valid.
    """
    pairs = zip(uses.lengths, single.lengths, strict=True)
    mixed = {name for (name, length), (_, own) in pairs if own * samples != length}
    to_verify: list[tuple[str, Tensor]] = []
    for number, x in uses.folded.items():
        name, alone = uses.lengths[number][0], single.folded.get(number)
        if alone is None or (alone.shape[1] * samples, *alone.shape[2:]) != x.shape[1:]:
            mixed.add(name)
        elif name not in mixed:
            difference = (x[0, : alone.shape[1]] - alone[0]).abs().amax()
            to_verify.append((name, difference <= 1e-3 * alone[0].abs().amax()))
    return mixed, to_verify


def _gram_by_vmap(model: nn.Module, images: Tensor, name: str) -> Tensor:
    """Gram matrix of one weight, for any kind of use, in a pass of its own."""
    parameter = model.get_parameter(name)

    def scalar(weight: Tensor, image: Tensor) -> Tensor:
        tensors = substitutes(model, lambda tensor: weight if tensor is parameter else None)
        return cast("Tensor", call_with_tensors(model, tensors, image[None], pooled_feature)).sum()

    try:
        with torch.no_grad(), ExplicitAttention():
            per_sample = vmap(grad(scalar), in_dims=(None, 0))
            gradients = per_sample(parameter.detach(), images).flatten(1)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise ValueError(f"no per-sample gradient of {name}: {first_line(error)}") from error
    gram: Tensor = gradients @ gradients.T
    return gram.double()


@contextmanager
def _require_gradients(weights: Iterable[Tensor], tensors: Iterable[Tensor]) -> Iterator[None]:
    """Require gradients of the weights and of no other tensor; then restore that."""
    counted = {id(weight) for weight in weights}
    before = [(tensor, tensor.requires_grad) for tensor in tensors]
    try:
        for tensor, _ in before:
            tensor.requires_grad_(id(tensor) in counted)
        yield
    finally:
        for tensor, required in before:
            tensor.requires_grad_(required)
