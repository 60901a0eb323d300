"""The neural tangent kernel of a batch and its condition number.

``Θ = J Jᵀ``, where row i of J is the gradient of the summed pooled feature of image i with respect
to every weight. Neither J nor any per-sample gradient of a whole network is ever formed.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from proxies.features import (
    draws_numbers,
    generator_states,
    input_for,
    is_norm,
    measured,
    pooled_feature,
    reference_tensor,
    same_rows,
    tensors_of,
)
from proxies.forward_mode import ExplicitAttention
from proxies.functional import call_with_tensors, to_host
from proxies.messages import first_line, out_of_memory
from proxies.per_sample_gradients import GramAccumulator
from proxies.registry import register_measure

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
        ValueError: If no weight reaches the feature, or the per-sample gradient of a weight cannot
            be formed.
    """
    return _kernels(model, images)[0]


def ntk_spectrum(model: nn.Module, images: Tensor) -> Tensor:
    """Eigenvalues of the kernel, ``[n]`` float64, ascending; arguments as :func:`ntk_matrix`."""
    return _spectrum(ntk_matrix(model, images))


@register_measure(
    "condition number κ_Θ of the neural tangent kernel of a batch",
    better="lower",
    paper="As-ViT, arXiv:2202.11921",
    undefined="the kernel is singular",
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
    kernel, others = _kernels(model, images)
    spectrum = _spectrum(kernel)
    held = float(others.trace() / kernel.trace())
    if held < _LEAST_HELD:
        raise ValueError(
            f"norm gains hold {1 - held:.1%} of the kernel's trace: {type(model).__name__} ends "
            "in a normalisation, which hides all other weights"
        )
    return condition_number(spectrum, reference_tensor(model).dtype)


def _spectrum(kernel: Tensor) -> Tensor:
    if not kernel.isfinite().all():
        raise ValueError("the kernel is not finite")
    return cast("Tensor", torch.linalg.eigvalsh(kernel))


def condition_number(spectrum: Tensor, dtype: torch.dtype) -> float:
    """λmax/λmin of ascending eigenvalues; NaN if the smallest is rounding error in ``dtype``."""
    largest, smallest = float(spectrum[-1]), float(spectrum[0])
    if not smallest > len(spectrum) * torch.finfo(dtype).eps * largest:
        return math.nan
    return largest / smallest


def _kernels(model: nn.Module, images: Tensor) -> Tensor:
    """The kernel, and the part of it that is not due to gains of norms, ``[2, n, n]``."""
    kind = type(model).__name__
    # Detached: the backward pass seeks weights, and would not reach those whose outputs have a
    # gradient only because of the images.
    images = input_for(model, images.detach())
    weights = {name: w for name, w in model.named_parameters() if "weight" in name}
    if not weights:
        raise ValueError(f"{kind} has no parameter with 'weight' in its name")
    norms = [item for item in model.named_modules() if is_norm(item[1])]
    gains = {name for path, norm in norms for name, _ in norm.named_parameters(path)}
    with measured(model, norms="kept"), _gradients_of(model, weights), torch.enable_grad():
        grams, checks, to_verify = _grams(model, weights, images)
        # The only device synchronisation: the kernels, and whether their terms are valid.
        kernels, independent, *valid = to_host([_sums(grams, gains), *checks])
        if not independent:
            raise ValueError(
                f"{kind} gives an image alone another feature than in a batch: its samples "
                "interact, or it is not reproducible; a measure needs neither"
            )
        wrong = {name for name, is_valid in zip(to_verify, valid, strict=True) if not is_valid}
        if wrong:
            _recompute(grams, wrong, model, weights, images)
            return _sums(grams, gains).cpu()
    return kernels


def _grams(
    model: nn.Module, weights: Mapping[str, Tensor], images: Tensor
) -> tuple[dict[str, Tensor], list[Tensor], list[str]]:
    """The terms of all weights, and checks that are still on the device.

    Of these the first is whether samples are independent, the others whether the terms of the last
    weights are valid.
    """
    kind = type(model).__name__
    with GramAccumulator(weights, images) as uses:
        feature = pooled_feature(model, images)
    total = feature.sum()
    if not total.requires_grad:
        raise ValueError(f"no weight of {kind} reaches its pooled feature")
    states = generator_states(images.device)
    with torch.no_grad(), GramAccumulator(weights, images[:1]) as single:
        alone = pooled_feature(model, images[:1])
    if generator_states(images.device) != states:
        raise ValueError(draws_numbers(model))
    mixed, to_verify = _mixed_samples(len(images), uses, single)
    # Uses with a rule are detached, so only uses without one have a gradient here.
    others = torch.autograd.grad(total, [uses.seed, *weights.values()], allow_unused=True)[1:]
    uses.finish()
    without_rule = {name for name, grads in zip(weights, others, strict=True) if grads is not None}
    _recompute(uses.grams, mixed | without_rule, model, weights, images)
    checks = [same_rows(alone, feature[:1]), *(is_valid for _, is_valid in to_verify)]
    return uses.grams, checks, [name for name, _ in to_verify]


def _sums(grams: Mapping[str, Tensor], gains: Collection[str]) -> Tensor:
    """The kernel, and the part of it that is not due to ``gains``, ``[2, n, n]``."""
    kernel = torch.stack(list(grams.values())).sum(0)
    others = [gram for name, gram in grams.items() if name not in gains]
    part = torch.stack(others).sum(0) if others else torch.zeros_like(kernel)
    return torch.stack([kernel, part])


def _recompute(
    grams: dict[str, Tensor],
    names: Collection[str],
    model: nn.Module,
    weights: Mapping[str, Tensor],
    images: Tensor,
) -> None:
    """Form the terms of some weights by vmap, in order: the sum's rounding depends on it."""
    for name, weight in weights.items():
        if name in names:
            grams[name] = _gram_by_vmap(model, images, name, weight)


def _mixed_samples(
    samples: int, uses: GramAccumulator, single: GramAccumulator
) -> tuple[set[str], list[tuple[str, Tensor]]]:
    """Weights whose input does not have the samples in order along its first axis.

    Consecutive windows or tokens of each sample are fine; a table or another order is not. A pass
    with a single image shows it, by the lengths of the inputs or by their values: the second
    result has such weights, and whether they are in order.
    """
    pairs = zip(uses.lengths, single.lengths, strict=True)
    mixed = {name for (name, length), (_, own) in pairs if own * samples != length}
    to_verify: list[tuple[str, Tensor]] = []
    for number, x in uses.folded.items():
        name, alone = uses.lengths[number][0], single.folded.get(number)
        if alone is None or (len(alone) * samples, *alone.shape[1:]) != x.shape:
            mixed.add(name)
        elif name not in mixed:
            difference = (x[: len(alone)] - alone).abs().amax()
            to_verify.append((name, difference <= 1e-3 * alone.abs().amax()))
    return mixed, to_verify


def _gram_by_vmap(model: nn.Module, images: Tensor, name: str, parameter: Tensor) -> Tensor:
    """Gram matrix of one weight, for any kind of use, in a pass of its own."""

    def scalar(weight: Tensor, image: Tensor) -> Tensor:
        out = call_with_tensors(
            model, lambda x: weight if x is parameter else None, image[None], pooled_feature
        )
        return cast("Tensor", out).sum()

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
def _gradients_of(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Require gradients of the weights and of no other tensor; then restore that."""
    counted = {id(weight) for weight in weights.values()}
    before = [(tensor, tensor.requires_grad) for tensor in tensors_of(model)]
    try:
        for tensor, _ in before:
            tensor.requires_grad_(id(tensor) in counted)
        yield
    finally:
        for tensor, required in before:
            tensor.requires_grad_(required)
