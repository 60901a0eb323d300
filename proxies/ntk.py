"""The neural tangent kernel of a batch and its condition number.

``Θ = J Jᵀ``, where row i of J is the gradient, by every weight, of the summed pooled feature of
image i. Neither J nor any per-sample gradient of a whole network is ever formed.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.overrides import TorchFunctionMode

from proxies.attention import attention, plain_arguments
from proxies.errors import first_line
from proxies.features import measured, pooled_feature, reference_tensor
from proxies.forward_mode import ExplicitAttention
from proxies.memory import first_that_fits, out_of_memory
from proxies.sample_gradients import USES, Use, gram_matrix
from proxies.substitution import call_with, stand_ins


def ntk_matrix(model: nn.Module, images: Tensor, *, final_norm: bool = False) -> Tensor:
    """Kernel ``Θ`` of a batch, ``[n, n]`` float64.

    One forward and one backward pass for the batch. Every parameter with "weight" in its name
    counts, where it reaches the pooled feature; normalisations are kept, the final one apart.

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
        return _kernel_in_pieces(model, images, weights)


def ntk_spectrum(model: nn.Module, images: Tensor, *, final_norm: bool = False) -> Tensor:
    """Eigenvalues of the kernel, ``[n]`` float64, ascending; arguments as :func:`ntk_matrix`."""
    kernel = ntk_matrix(model, images, final_norm=final_norm)
    if not kernel.isfinite().all():
        raise ValueError("the kernel is not finite")
    spectrum: Tensor = torch.linalg.eigvalsh(kernel.cpu())
    return spectrum


def ntk_condition_number(model: nn.Module, images: Tensor, *, final_norm: bool = False) -> float:
    """Condition number κ_Θ = λmax/λmin of the kernel; lower is better, 1 is the best.

    NaN when the kernel is singular to working precision: the smallest eigenvalue is then rounding
    error. Arguments and errors as :func:`ntk_matrix`.

    References:
        As-ViT, arXiv:2202.11921, section 3; Xiao et al. 2020, arXiv:1912.13053.
    """
    spectrum = ntk_spectrum(model, images, final_norm=final_norm)
    largest, smallest = float(spectrum[-1]), float(spectrum[0])
    epsilon = torch.finfo(reference_tensor(model).dtype).eps
    if not smallest > len(spectrum) * epsilon * largest:
        return math.nan
    return largest / smallest


class _WeightUses(TorchFunctionMode):
    """Follow every use of a weight; add up Gram matrices as the backward pass reaches them.

    Weights that an operation with a rule uses are cut from the graph: autograd then carries the
    gradient of the activations only, and forms no weight gradient of its own.
    """

    def __init__(self, weights: Mapping[str, Tensor], images: Tensor) -> None:
        super().__init__()
        self._weights = weights
        self._names = {id(weight): name for name, weight in weights.items()}
        self._samples = len(images)
        self._expected: dict[str, int] = defaultdict(int)
        self._arrived: dict[str, list[tuple[Use, Tensor]]] = defaultdict(list)
        self.lengths: list[tuple[str, int]] = []
        """Weight of each use, in order, and the first axis of what it was applied to."""
        self.folded: dict[int, Tensor] = {}
        """Use -> what its weight was applied to, where the first axis is not the samples."""
        self.grams: dict[str, Tensor] = {}
        self.seed = images.new_zeros((), requires_grad=True)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            tokens, bias, scale = plain_arguments(*args, **kwargs)
            return attention(*tokens, bias=bias, scale=scale)
        if func not in USES:
            return func(*args, **kwargs)
        found = USES[func](*args, **kwargs)
        if found is None or id(found[0]) not in self._names:
            return func(*args, **kwargs)
        weight, use = found
        frozen = [_frozen(value) for value in args]
        out = func(*frozen, **{key: _frozen(value) for key, value in kwargs.items()})
        name = self._names[id(weight)]
        if len(use.x) != self._samples:
            # Without its graph, whose hooks lead back here: together they would never be freed.
            self.folded[len(self.lengths)] = use.x.detach()
        self.lengths.append((name, len(use.x)))
        if torch.is_grad_enabled():
            if not out.requires_grad:
                # Nothing before needed a gradient: let the backward pass come as far as here.
                out = out + self.seed
            self._follow(name, use, out)
        return out

    def _follow(self, name: str, use: Use, out: Tensor) -> None:
        self._expected[name] += 1

        def arrive(grads: Tensor) -> None:
            uses = self._arrived[name]
            uses.append((use, grads))
            if len(uses) == self._expected[name]:
                self._finish(name)

        out.register_hook(arrive)

    def finish(self) -> None:
        """Add up weights some of whose uses have no gradient, because nothing comes of them."""
        for name in list(self._arrived):
            self._finish(name)

    def _finish(self, name: str) -> None:
        uses = self._arrived.pop(name)
        if all(len(use.x) % self._samples == 0 for use, _ in uses):
            self.grams[name] = gram_matrix(self._weights[name], uses, self._samples)


def _kernel(model: nn.Module, images: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    uses = _WeightUses(weights, images)
    with torch.enable_grad():
        with uses:
            total = pooled_feature(model, images).sum()
        if not total.requires_grad:
            raise ValueError(f"no weight of {type(model).__name__} reaches its pooled feature")
        mixed = _mixed_up(model, images, weights, uses)
        # Only uses without a rule are still in the graph, and have a gradient here.
        others = torch.autograd.grad(total, [uses.seed, *weights.values()], allow_unused=True)[1:]
    uses.finish()
    without_rule = {name for name, grads in zip(weights, others, strict=True) if grads is not None}
    grams = uses.grams
    for name in mixed | without_rule:
        grams[name] = _gram_by_vmap(model, images, name)
    return torch.stack(list(grams.values())).sum(0)


def _mixed_up(
    model: nn.Module, images: Tensor, weights: Mapping[str, Tensor], uses: _WeightUses
) -> set[str]:
    """Weights applied to something whose first axis is not made of the samples, one by one.

    Windows, or tokens, that follow each other sample by sample are fine; tables that no sample
    enters, or another order, are not. What a single image gives tells them apart, by its length
    and, where that is a multiple of one, by its values.
    """
    single = _WeightUses(weights, images[:1])
    with torch.no_grad(), single:
        pooled_feature(model, images[:1])
    pairs = zip(uses.lengths, single.lengths, strict=True)
    mixed = {name for (name, length), (_, one) in pairs if one * len(images) != length}
    return mixed | {
        uses.lengths[number][0]
        for number, x in uses.folded.items()
        if not _leads(single.folded.get(number), x, len(images))
    }


def _leads(alone: Tensor | None, x: Tensor, samples: int) -> bool:
    """Whether what one image gives is the first of ``samples`` equal parts of what all give."""
    if alone is None or len(alone) * samples != len(x) or alone.shape[1:] != x.shape[1:]:
        return False
    difference = (x[: len(alone)] - alone).abs().max()
    return bool(difference <= 1e-3 * alone.abs().max())


def _kernel_in_pieces(model: nn.Module, images: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """The kernel at once, or pair by pair of ever smaller pieces while memory runs out."""

    def attempt(pieces: int) -> Tensor:
        if pieces == 1:
            return _kernel(model, images, weights)
        return _kernel_by_pairs(model, images, weights, pieces)

    # Two pieces, or three, would not make a pair smaller than the batch by much.
    choices = [1, *(pieces for k in range(2, 11) if (pieces := 1 << k) <= len(images))]
    key = ("the tangent kernel", tuple(images.shape), str(images.device))
    return first_that_fits(attempt, choices, key=key)


def _kernel_by_pairs(
    model: nn.Module, images: Tensor, weights: Mapping[str, Tensor], pieces: int
) -> Tensor:
    groups = torch.arange(len(images)).tensor_split(pieces)
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)
    for first in range(pieces):
        for second in range(first + 1, pieces):
            rows = torch.cat((groups[first], groups[second])).to(images.device)
            kernel[rows[:, None], rows] = _kernel(model, images[rows], weights)
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
        raise ValueError(f"{type(model).__name__} has no parameter with 'weight' in its name")
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in weights)
        yield weights
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before[name])


def _frozen(value: Any) -> Any:
    return value.detach() if isinstance(value, nn.Parameter) else value
