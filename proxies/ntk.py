"""The neural tangent kernel of a batch and its condition number.

``Θ = J Jᵀ``, where row i of J is the gradient of the summed pooled feature of image i with respect
to every weight. Neither J nor any per-sample gradient of a whole network is ever formed.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from proxies.features import input_for, is_norm, measured, pooled_feature, reference_tensor
from proxies.forward_mode import ExplicitAttention
from proxies.functional import FunctionOfModel, Stack, call_with_tensors, substitutes
from proxies.memory import first_that_fits, in_chunks, to_host
from proxies.messages import first_line, out_of_memory
from proxies.per_sample_gradients import GramAccumulator, StackedGramAccumulator
from proxies.samples import draws_numbers, generator_states, same_rows


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

    Example:
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        >>> images = torch.randn(4, 3, 32, 32)
        >>> proxies.ntk_matrix(network, images).shape
        torch.Size([4, 4])
    """
    return _kernels(model, images)[0]


def ntk_spectrum(model: nn.Module, images: Tensor) -> Tensor:
    """Eigenvalues of the kernel, ``[n]`` float64, ascending; arguments as :func:`ntk_matrix`.

    Example:
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        >>> images = torch.randn(4, 3, 32, 32)
        >>> proxies.ntk_spectrum(network, images).shape
        torch.Size([4])
    """
    return _spectrum(ntk_matrix(model, images))


def ntk_condition_number(model: nn.Module, images: Tensor) -> float:
    """Condition number κ_Θ = λmax/λmin of the kernel; lower is better, 1 is the best.

    NaN if the kernel is singular to working precision, since the smallest eigenvalue is then
    rounding error. Arguments as :func:`ntk_matrix`.

    Raises:
        ValueError: As :func:`ntk_matrix`, or if the gains of norms hold more than 99 % of the
            kernel's trace: the sum of a normalised feature is constant, so that a norm at the end
            of the network hides what is in front of it.

    References:
        As-ViT, arXiv:2202.11921, section 3; Xiao et al. 2020, arXiv:1912.13053.

    Example:
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        >>> images = torch.randn(4, 3, 32, 32)
        >>> proxies.ntk_condition_number(network, images) >= 1
        True
    """
    kernel, others = _kernels(model, images)
    spectrum = _spectrum(kernel)
    if _hides_weights(kernel, others):
        raise ValueError(
            f"norm gains hold {1 - others.trace() / kernel.trace():.1%} of the kernel's trace: "
            f"{type(model).__name__} ends in a normalisation, which hides all other weights"
        )
    return condition_number(spectrum, reference_tensor(model).dtype)


def ntk_condition_numbers(models: Sequence[nn.Module], images: Tensor) -> list[float]:
    """:func:`ntk_condition_number` of several networks of one architecture, in one pass.

    Equal to the separate values up to rounding, which a condition number amplifies. NaN also for a
    kernel that is not finite or has hardly more than the gains of norms. Arguments and errors as
    :func:`stacked_kernels`; fewer networks at a time if memory runs out.
    """
    key = ("the tangent kernels", len(models), tuple(images.shape), str(images.device))
    dtype = reference_tensor(models[0]).dtype
    kernels = in_chunks(lambda rows: stacked_kernels(models[rows], images), len(models), key=key)
    full, others = kernels.unbind(1)
    valid = full.isfinite().all(2).all(1) & ~_hides_weights(full, others)
    spectra = torch.linalg.eigvalsh(full.where(valid[:, None, None], 1))
    return [
        condition_number(spectrum, dtype) if is_valid else math.nan
        for spectrum, is_valid in zip(spectra, valid.tolist(), strict=True)
    ]


def _kernels(model: nn.Module, images: Tensor) -> Tensor:
    """The kernel, and the part of it that is not due to gains of norms, ``[2, n, n]``."""
    images = _checked_images(model, images)
    state = measured(model, norms="kept", images=images)
    with state, _require_weight_gradients(model) as weights:
        return _kernel_in_pieces(_Networks(model, weights), images)


def stacked_kernels(models: Sequence[nn.Module], images: Tensor) -> Tensor:
    """Kernels of several networks of one architecture at once, ``[networks, 2, n, n]``.

    Each has, beside it, the part that is not due to gains of norms. Memory grows with the
    number of networks.

    Raises:
        ValueError: As :func:`ntk_matrix`, or if the networks differ in more than their tensors.
        RuntimeError: If the architecture cannot be vectorised over its weights.
    """
    model, stack = models[0], Stack.of(models)
    images = _checked_images(model, images)
    weights = {name: stack.tensors[name] for name in _weights(model)}
    try:
        for weight in weights.values():
            weight.requires_grad_()
        with measured(model, norms="kept", images=images):
            return _kernel(_Networks(model, weights, stack), images)
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)


def _spectrum(kernel: Tensor) -> Tensor:
    if not kernel.isfinite().all():
        raise ValueError("the kernel is not finite")
    return cast("Tensor", torch.linalg.eigvalsh(kernel))


def _hides_weights(kernel: Tensor, others: Tensor) -> Tensor:
    """Whether others than the gains of norms hold less than 1 % of a kernel ``[..., n, n]``."""
    held, whole = (x.diagonal(dim1=-2, dim2=-1).sum(-1) for x in (others, kernel))
    return held < 0.01 * whole


def condition_number(spectrum: Tensor, dtype: torch.dtype) -> float:
    """λmax/λmin of ascending eigenvalues; NaN if the smallest is rounding error in ``dtype``."""
    largest, smallest = float(spectrum[-1]), float(spectrum[0])
    if not smallest > len(spectrum) * torch.finfo(dtype).eps * largest:
        return math.nan
    return largest / smallest


@dataclass(frozen=True)
class _Networks:
    """The network to form a kernel of, or all those of a stack at once."""

    model: nn.Module  # the first one
    weights: Mapping[str, Tensor]
    stack: Stack | None = None

    def forward(self, images: Tensor) -> tuple[Tensor, GramAccumulator]:
        """The pooled features, and the recorded uses of weights."""
        if self.stack is None:
            with GramAccumulator(self.weights, images) as uses:
                return pooled_feature(self.model, images), uses
        with StackedGramAccumulator(self.stack, self.weights, images) as stacked:
            use = stacked.use_tensors
            feature = self.stack.run(pooled_feature, images, shared=True, on_tensors=use)
            return feature, stacked

    @torch.no_grad()
    def first_image(self, images: Tensor) -> tuple[Tensor, GramAccumulator]:
        """As :meth:`forward`, of the first image alone and the first network alone.

        How a network treats its samples does not depend on its weights, so one shows it for all.
        """
        weights = self.weights if self.stack is None else _weights(self.model)
        with GramAccumulator(weights, images[:1]) as uses:
            return pooled_feature(self.model, images[:1]), uses

    def gram_by_vmap(self, images: Tensor, name: str) -> Tensor:
        """Gram matrix of one weight, for any kind of use."""
        if self.stack is None:
            return _gram_by_vmap(self.model, images, name)
        grams = []
        for model in self.stack:
            with measured(model, norms="kept", images=images):
                grams.append(_gram_by_vmap(model, images, name))
        return torch.stack(grams)


def _kernel(networks: _Networks, images: Tensor) -> Tensor:
    with torch.enable_grad():
        feature, uses = networks.forward(images)
        total = feature.sum()
        if not total.requires_grad:
            raise ValueError(
                f"no weight of {type(networks.model).__name__} reaches its pooled feature"
            )
        states = generator_states(images.device)
        alone, single = networks.first_image(images)
        if generator_states(images.device) != states:
            raise ValueError(draws_numbers(networks.model))
        mixed, to_verify = _mixed_samples(len(images), uses, single)
        weights = networks.weights
        # Uses with a rule are detached, so only uses without one have a gradient here.
        others = torch.autograd.grad(total, [uses.seed, *weights.values()], allow_unused=True)[1:]
    uses.finish()
    without_rule = {name for name, grads in zip(weights, others, strict=True) if grads is not None}
    grams = uses.grams
    _recompute(grams, mixed | without_rule, networks, images)
    # The only device synchronisation: the kernels, and whether their terms are valid.
    first = feature if networks.stack is None else feature[0]
    checks = [same_rows(alone, first[:1]), *(is_valid for _, is_valid in to_verify)]
    norms = [item for item in networks.model.named_modules() if is_norm(item[1])]
    gains = {name for path, norm in norms for name, _ in norm.named_parameters(path)}
    kernel, independent, *valid = to_host([_sums(grams, gains), *checks])
    if not independent:
        kind = type(networks.model).__name__
        raise ValueError(
            f"{kind} gives an image alone another feature than in a batch: its samples interact, "
            "or it is not reproducible; a measure needs neither"
        )
    wrong = {name for (name, _), is_valid in zip(to_verify, valid, strict=True) if not is_valid}
    if wrong:
        _recompute(grams, wrong, networks, images)
        return _sums(grams, gains).cpu()
    return kernel


def _sums(grams: Mapping[str, Tensor], gains: Collection[str]) -> Tensor:
    """The kernel, and the part of it that is not due to ``gains``, ``[..., 2, n, n]``."""
    kernel = torch.stack(list(grams.values())).sum(0)
    others = [gram for name, gram in grams.items() if name not in gains]
    part = torch.stack(others).sum(0) if others else torch.zeros_like(kernel)
    return torch.stack([kernel, part], -3)


def _recompute(
    grams: dict[str, Tensor], names: Collection[str], networks: _Networks, images: Tensor
) -> None:
    """Form the terms of some weights by vmap, in order: the sum's rounding depends on it."""
    for name in networks.weights:
        if name in names:
            grams[name] = networks.gram_by_vmap(images, name)


def _mixed_samples(
    samples: int, uses: GramAccumulator, single: GramAccumulator
) -> tuple[set[str], list[tuple[str, Tensor]]]:
    """Find weights whose input does not have the samples in order along its first axis.

    Consecutive windows or tokens of each sample are fine. A table that does not depend on the
    images is not, nor is another order of samples. A pass with a single image tells them apart: by
    the lengths of the inputs and, if these are multiples of the sample count, by their values,
    compared on the device: the second result lists such weights, and whether they are valid.
    """
    pairs = zip(uses.lengths, single.lengths, strict=True)
    mixed = {name for (name, length), (_, own) in pairs if own * samples != length}
    to_verify: list[tuple[str, Tensor]] = []
    for number, x in uses.folded.items():
        name, alone = uses.lengths[number][0], single.folded.get(number)
        if (
            alone is None
            or alone.shape[1] * samples != x.shape[1]
            or alone.shape[2:] != x.shape[2:]
        ):
            mixed.add(name)
        elif name not in mixed:
            to_verify.append((name, _is_first_part(alone[0], x[0])))
    return mixed, to_verify


def _is_first_part(alone: Tensor, x: Tensor) -> Tensor:
    """Whether the input for the first image alone begins the input for all, ``[m, ...]``."""
    difference = (x[: len(alone)] - alone).abs().amax()
    return difference <= 1e-3 * alone.abs().amax()


def _kernel_in_pieces(network: _Networks, images: Tensor) -> Tensor:
    """The kernel at once or, while memory runs out, from pairs of ever smaller pieces."""

    def attempt(pieces: int) -> Tensor:
        if pieces == 1:
            return _kernel(network, images)
        groups = torch.arange(len(images)).tensor_split(pieces)
        kernel = torch.zeros(2, len(images), len(images), dtype=torch.float64)
        for pair in itertools.combinations(groups, 2):
            rows = torch.cat(pair)
            kernel[:, rows[:, None], rows] = _kernel(network, images[rows.to(images.device)])
        return kernel

    # A pair of two or three pieces would hardly be smaller than the batch.
    choices = [1, *(pieces for k in range(2, 11) if (pieces := 1 << k) <= len(images))]
    key = ("the tangent kernel", tuple(images.shape), str(images.device))
    return first_that_fits(attempt, choices, key=key)


def _gram_by_vmap(model: nn.Module, images: Tensor, name: str) -> Tensor:
    """Gram matrix of one weight, for any kind of use, in a pass of its own."""
    feature = FunctionOfModel(model, pooled_feature)
    parameter = model.get_parameter(name)

    def scalar(weight: Tensor, image: Tensor) -> Tensor:
        tensors = substitutes(feature, lambda tensor: weight if tensor is parameter else None)
        return cast("Tensor", call_with_tensors(feature, tensors, image[None])).sum()

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
def _require_weight_gradients(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Require gradients of the parameters that count and of no other; then restore that."""
    weights = _weights(model)
    counted = {id(weight) for weight in weights.values()}
    before = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in counted)
        yield weights
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if "weight" in n}
    if not weights:
        raise ValueError(f"{type(model).__name__} has no parameter with 'weight' in its name")
    return weights


def _checked_images(model: nn.Module, images: Tensor) -> Tensor:
    if not len(images):
        raise ValueError("the kernel of 0 images is empty; use at least 1")
    # The backward pass seeks weights, and would not reach those whose outputs have a gradient
    # only because of the images.
    return input_for(model, images.detach())
