"""Measures of the loss gradient: SNIP, gradient norm, GraSP, Fisher and ZiCo.

All use one labelled batch, in evaluation mode, with every normalisation kept. All but ZiCo were
designed to prune single weights; networks are ranked by the sum over all weights
(arXiv:2101.08134).

They take any classifier, which is not changed, images ``[n, C, H, W]``, cast to its dtype and
device, and the class of each image, ``[n]``, modulo the number of classes. A network that is no
classifier, or whose loss no parameter reaches, is a ValueError.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.conv import _ConvNd

from proxies.features import evaluating, input_for, logits
from proxies.functional import InterceptOperations, Operation
from proxies.per_sample_gradients import NORMS, RULES
from proxies.registry import register_measure
from proxies.samples import independent_images, repeatable_images

# Images differentiated twice at a time: some hundred MB each if attention windows are large.
_CHUNK = 4

_ZERO_COST_PAPER = "Abdelfattah et al. 2021, arXiv:2101.08134"


@register_measure(
    "connection sensitivity: change of the loss without each weight, summed",
    paper="Lee et al. 2019, arXiv:1810.02340",
    check=repeatable_images,
)
def snip(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Connection sensitivity: how much the loss changes if each weight is removed.

    ``Σ |θ ⊙ ∂L/∂θ|`` over all parameters, in nats. One forward and one backward pass.
    """
    pairs = _gradients(model, images, labels)
    return total((parameter * gradient).abs() for parameter, gradient in pairs)


@register_measure(
    "Euclidean norms of the loss gradient, summed over parameter tensors",
    name="grad_norm",
    paper=_ZERO_COST_PAPER,
    check=repeatable_images,
)
def gradient_norm(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Euclidean norms of the loss gradient, ``Σ_l ‖∂L/∂θ_l‖₂``, summed over parameter tensors.

    In nats per unit of weight. One forward and one backward pass.
    """
    pairs = _gradients(model, images, labels)
    return total(torch.linalg.vector_norm(g, dtype=torch.float64) for _, g in pairs)


@register_measure(
    "gradient signal preservation, −θᵀHg: how much the weights reduce the gradient",
    paper="Wang et al. 2020, arXiv:2002.07376",
    check=independent_images,  # H is summed over parts of the batch
)
def grasp(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Gradient signal preservation, ``−θᵀHg`` with gradient ``g`` and Hessian ``H`` of the loss.

    High if the weights reduce the gradient. In squared nats per squared unit of weight. One
    forward and backward pass, then both again with second derivatives, a few images at a time
    because every attention map is kept.
    """
    with _differentiable(model) as parameters:
        directions = _gradients_of(_batch_loss(model, images, labels), parameters)
        batches = zip(images.split(_CHUNK), labels.split(_CHUNK), strict=True)
        # Fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            return -total(
                len(x) / len(images) * _growth_along(model, parameters, directions, (x, y))
                for x, y in batches
            )


def _growth_along(
    model: nn.Module,
    parameters: Sequence[Tensor],
    directions: Sequence[Tensor],
    batch: tuple[Tensor, Tensor],
) -> Tensor:
    """``θᵀHv`` of a batch for directions ``v``, from the derivative of ``vᵀg``."""
    all_gradients = _gradients_of(_batch_loss(model, *batch), parameters, create_graph=True)
    dependent = [(g, v) for g, v in zip(all_gradients, directions, strict=True) if g.requires_grad]
    gradients, along = zip(*dependent, strict=True)
    products = _gradients_of(gradients, parameters, along)
    pairs = zip(parameters, products, strict=True)
    return torch.stack([(p.detach() * hv).sum(dtype=torch.float64) for p, hv in pairs]).sum()


def _gradients_of(
    outputs: Any, parameters: Sequence[Tensor], *grad_outputs: Any, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Gradients of a pass whose graph is kept: networks that cache tensors share parts of it."""
    options: Any = {"retain_graph": True, "create_graph": create_graph, "materialize_grads": True}
    return torch.autograd.grad(outputs, parameters, *grad_outputs, **options)


@register_measure(
    "Fisher information of the activations of linear layers and convolutions",
    paper=_ZERO_COST_PAPER,
    check=repeatable_images,
)
def fisher(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Fisher information of the activations, ``Σ (z ⊙ ∂L/∂z)²`` over the outputs ``z`` of maps.

    Maps are linear ones and convolutions with trained weights, as modules or functions; every
    element of an output counts. ``nn.MultiheadAttention`` hides its own, and is refused. In
    squared nats. One forward and one backward pass.
    """
    with _differentiable(model):
        with _MapOutputs() as maps:
            loss = _batch_loss(model, images, labels)
        outputs = [z for z in maps.outputs if z.requires_grad]
        if not outputs:
            raise ValueError(f"{type(model).__name__} has no linear layer or convolution to train")
        gradients = torch.autograd.grad(loss, outputs, allow_unused=True)
    pairs = zip(outputs, gradients, strict=True)
    return total((z.detach() * g).square() for z, g in pairs if g is not None)


# Beside those with rules for gradients.
_OTHER_MAPS = {
    *(F.conv1d, F.conv3d),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
}


class _MapOutputs(InterceptOperations):
    """Collects the outputs of linear maps and convolutions whose weights are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if func is F.multi_head_attention_forward:
            raise ValueError("the projections of nn.MultiheadAttention are hidden from fisher")
        out = func(*args, **kwargs)
        if func not in _OTHER_MAPS and (func not in RULES or func in NORMS):
            return out
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        if not weight.requires_grad:
            return out
        self.outputs.append(out)
        return out.clone()  # later operations may be in place


@register_measure(
    "ZiCo: how little each weight's gradient varies between two halves of the batch",
    paper="Li et al. 2023, arXiv:2301.11300",
    undefined="no gradient differs between the halves of the batch",
    check=repeatable_images,
)
def zico(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Inverse coefficient of variation of the gradients, over two halves of the batch.

    ``Σ_l log Σ_{ω ∈ θ_l} E|∂L/∂ω| / √Var|∂L/∂ω|``, mean and (population) variance over halves.
    Layers are linear maps and convolutions, each with its weight and bias; the projections into
    ``nn.MultiheadAttention`` are one layer. A weight whose gradient does not vary has no
    coefficient and is left out, as is a layer that has only such weights. Dimensionless. One
    forward and one backward pass.

    NaN if no gradient varies between the halves. A ValueError if there are fewer than two images,
    no layer reaches the loss, or its gradients are not finite.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} images have no two halves; use at least 2")
    layers = _layers(model)
    parameters = [parameter for layer in layers for parameter in layer]
    if not parameters:
        raise ValueError(f"{type(model).__name__} has no linear layer or convolution to train")
    pieces = zip(images.tensor_split(2), labels.tensor_split(2), strict=True)
    with evaluating(model), torch.enable_grad():
        samples = [
            torch.autograd.grad(_batch_loss(model, x, y), parameters, materialize_grads=True)
            for x, y in pieces
        ]
    ratios = torch.stack([_inverse_variation(grads) for grads in zip(*samples, strict=True)])
    sums = torch.stack([part.sum() for part in ratios.split([len(x) for x in layers])])
    logs = torch.where(sums == 0, 0, sums.log()).sum()
    score, varies = torch.stack([logs, (sums != 0).any().to(logs)]).tolist()
    if not varies:
        return math.nan
    if not math.isfinite(score):
        raise ValueError(f"{type(model).__name__} gives gradients that are not finite")
    return float(score)


def _layers(model: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters of each layer; shared ones belong to the first of their layers."""
    assigned: set[nn.Parameter] = set()
    layers = []
    for module in model.modules():
        if isinstance(module, nn.Linear | _ConvNd | nn.MultiheadAttention):
            named = module.named_parameters(recurse=False)
            # An attention's own tokens are of no map.
            own = [p for n, p in named if p.requires_grad and n not in ("bias_k", "bias_v")]
            layers.append([p for p in own if p not in assigned])
            assigned.update(own)
    return [layer for layer in layers if layer]


def _inverse_variation(gradients: Sequence[Tensor]) -> Tensor:
    """Mean over deviation of absolute gradients, 0 if there is none, summed over a parameter."""
    absolute = torch.stack(list(gradients)).double().abs_()
    mean = absolute.mean(0)
    # Ten times as fast as torch.std_mean for a few batches.
    deviation = absolute.sub_(mean).square_().mean(0).sqrt_()
    return torch.where(deviation == 0, 0, mean / deviation).sum()


def _batch_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of a batch, in nats."""
    if not len(images):
        raise ValueError("the loss of 0 images is undefined; use at least 1")
    scores = logits(model, input_for(model, images))
    loss = F.cross_entropy(scores, labels.to(scores.device) % scores.shape[1])
    if not loss.requires_grad:
        raise ValueError(f"no parameter of {type(model).__name__} reaches its loss")
    return loss


@contextmanager
def _differentiable(model: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Trainable parameters, with the model in evaluation mode and gradients enabled."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError(f"{type(model).__name__} has no parameter that requires a gradient")
    with evaluating(model), torch.enable_grad():
        yield parameters


def _gradients(model: nn.Module, images: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Each parameter that reaches the loss, with its gradient."""
    with _differentiable(model) as parameters:
        loss = _batch_loss(model, images, labels)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = zip(parameters, gradients, strict=True)
    return [(p.detach(), g) for p, g in pairs if g is not None]


def total(parts: Iterable[Tensor]) -> float:
    """Sum of all elements of all tensors, in float64, with one device synchronisation."""
    return float(torch.stack([part.sum(dtype=torch.float64) for part in parts]).sum())
