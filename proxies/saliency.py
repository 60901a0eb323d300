"""Measures of how much the weights matter, one by one, to an output or to a loss.

SynFlow and DSS need no data. The others use one labelled batch, in evaluation mode, with every
normalisation kept; most were designed to prune single weights, and networks are ranked by the sum
over all weights (arXiv:2101.08134). These take any classifier, images ``[n, C, H, W]``, and the
class of each image, ``[n]``, modulo the number of classes. A network that is no classifier, or
whose loss no parameter reaches, is a ValueError.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.conv import _ConvNd

from proxies.activations import is_rectifier
from proxies.features import (
    evaluating,
    independent_images,
    input_for,
    logits,
    measured,
    reference_tensor,
    repeatable_images,
)
from proxies.forward_mode import normalize_arguments
from proxies.functional import (
    InterceptOperations,
    Operation,
    call_with_tensors,
    forms_of,
    model_errors,
)
from proxies.per_sample_gradients import NORMS, RULES
from proxies.registry import register_measure

# Images differentiated twice at a time: some hundred MB each if attention windows are large.
_CHUNK = 4

_ZERO_COST_PAPER = "Abdelfattah et al. 2021, arXiv:2101.08134"


@register_measure(
    "logarithm of the synaptic flow: total weight of all paths, without data",
    paper="Tanaka et al. 2020, arXiv:2006.05467",
    undefined="the flow is not positive: a layer starts at zero, or centres its weights",
    check=repeatable_images,
)
def synflow(model: nn.Module, images: Tensor) -> float:
    """Logarithm of the synaptic flow ``Σ θ ⊙ ∂R/∂θ`` with ``R = 1ᵀ (Π |θ|) 1``.

    ``R`` sums, over all paths from inputs to outputs, the product of absolute weights along the
    path. It is the output of a network of absolute weights for an image of ones if only weights
    act on it: normalisations and activation functions are the identity; attention averages its
    values, as it does for equal tokens. Sigmoid gates are kept. Biases and tokens start paths.

    One forward and one backward pass of one image, of which only the shape is used, in float64.
    Dimensionless; infinite beyond float64, NaN if no path reaches the output. A ValueError if the
    model does not return one tensor, or no parameter reaches it.
    """
    with measured(model, norms="bypassed"), torch.enable_grad(), _OnlyWeightsAct():
        # By Euler's theorem, the derivative with respect to a common factor of all parameters.
        like = reference_tensor(model).double()
        factor = like.new_ones((), requires_grad=True)
        weights = {p: factor * size for p, size in _absolute_parameters(model).items()}
        paths = _response_to_ones(model, weights, images)
        pair = *torch.autograd.grad(paths, factor), paths.detach()
        flow, response = torch.stack(pair).tolist()
    if not math.isfinite(response):
        return math.inf
    return math.log(flow) if flow > 0 else math.nan


def _absolute_parameters(model: nn.Module) -> dict[nn.Parameter, Tensor]:
    return {p: p.detach().double().abs() for p in model.parameters()}


def _response_to_ones(
    model: nn.Module, parameters: Mapping[nn.Parameter, Tensor], images: Tensor
) -> Tensor:
    """Summed output of a model with other parameters for one image of ones, in float64."""
    ones = reference_tensor(model).double().new_ones(1, *images.shape[1:])
    kind = type(model).__name__

    def substitute(tensor: Tensor) -> Tensor:
        if isinstance(tensor, nn.Parameter):
            return parameters[tensor]
        return tensor.double() if tensor.is_floating_point() else tensor

    with model_errors(model):
        out = call_with_tensors(model, substitute, ones)
    if not isinstance(out, Tensor):
        raise ValueError(f"{kind} gives {type(out).__name__}; this measure needs one tensor")
    if not out.requires_grad:
        raise ValueError(f"no parameter of {kind} reaches its output")
    return out.sum()


def _identity(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return input


def _uniform_softmax(input: Tensor, dim: int = -1, *args: Any, **kwargs: Any) -> Tensor:
    return torch.full_like(input, 1 / input.shape[dim])


def _mean_value(*args: Any, **kwargs: Any) -> Tensor:
    query, _, value, _, _ = normalize_arguments(*args, **kwargs)
    return value.mean(-2, keepdim=True).expand(*query.shape[:-1], value.shape[-1])


def _mean_multi_head(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Equal queries and keys make the softmax uniform."""
    equal = torch.zeros_like(query), torch.zeros_like(key)
    return F.multi_head_attention_forward(*equal, value, *args, **kwargs)


# Activations beside rectifiers.
_SATURATING = ("hardtanh", "logsigmoid", "tanh", "tanhshrink", "softsign")
_SHRINKING = ("softshrink", "hardshrink")


class _OnlyWeightsAct(InterceptOperations):
    """Inside, activation functions are the identity, and attention averages its values."""

    replacements: ClassVar[Mapping[Operation, Operation]] = {
        **dict.fromkeys(forms_of(*_SATURATING, *_SHRINKING), _identity),
        **dict.fromkeys(forms_of("softmax"), _uniform_softmax),
        F.scaled_dot_product_attention: _mean_value,
        F.multi_head_attention_forward: _mean_multi_head,
    }

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call what replaces ``func``, if anything."""
        if is_rectifier(func, args, kwargs):
            return _identity(*args, **kwargs)
        return super().intercept(func, args, kwargs)


Part = Literal["attention", "mlp"]

# Class names of attention and MLPs, in asvit, timm and torch; attention pooling is a head.
_ATTENTION = re.compile(r"(Attention|Attn|MHSA|XCA)(?!.*Block)")
_POOLING = re.compile(r"(Attention|Attn)Pool(?!First)")
_MLP = re.compile(r"(Mlp|MLP|FeedForward|FFN|SwiGLU)(?!.*Head)")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@register_measure(
    "DSS: synaptic diversity of attention and saliency of the MLPs, without data",
    paper="TF-TAS, arXiv:2203.12217",
    check=repeatable_images,
)
def dss(model: nn.Module, images: Tensor) -> float:
    """DSS indicator of a transformer, ``Σ_l D_l + S_l`` over its blocks.

    With ``R`` the summed output for an image of ones, with absolute parameters:

    * synaptic diversity of attention, ``D_l = Σ_m ‖∂R/∂W_m‖_* ‖W_m‖_*`` over the linear maps of
      block ``l``'s attention, with the nuclear norm;
    * synaptic saliency of the MLP, ``S_l = Σ_n Σ |∂R/∂W_n ⊙ W_n|`` over its linear maps.

    Normalisations and activation functions are kept, so that transformers do not overflow, and
    saliencies are absolute values. Query, key and value in one linear map are one matrix. In units
    of the output; infinite beyond float64. One forward and one backward pass of an image, in
    float64, and the singular values of attention weights and gradients. Attention and MLPs are
    recognised by their class names, or by standing beside each other in a block. A ValueError if
    the model has no attention, or its weights do not reach the output.
    """
    parts: dict[nn.Parameter, Part] = {}
    for weight, part in _parts_of(model):
        parts.setdefault(weight, part)
    if "attention" not in parts.values():
        raise ValueError(
            f"{type(model).__name__} has no attention with linear maps; dss needs a transformer"
        )
    with evaluating(model), torch.enable_grad():
        parameters = _absolute_parameters(model)
        weights = [parameters[parameter].requires_grad_() for parameter in parts]
        response = _response_to_ones(model, parameters, images)
        gradients = torch.autograd.grad(response, weights, allow_unused=True)
    score = _total(
        _diversity(weight.detach(), gradient)
        if part == "attention"
        else (weight.detach() * gradient).abs()
        for part, weight, gradient in zip(parts.values(), weights, gradients, strict=True)
        if gradient is not None
    )
    overflow = math.isnan(score) and math.isfinite(response.detach())
    return math.inf if overflow else score


def _diversity(weight: Tensor, gradient: Tensor) -> Tensor:
    """Product of the nuclear norms; NaN for a gradient beyond float64, which has no norm."""
    pair = torch.stack([weight, gradient]).flatten(2)
    norms: Tensor = torch.linalg.matrix_norm(pair.nan_to_num(), "nuc")
    return norms.prod() + 0 * gradient.sum()


def _parts_of(module: nn.Module, part: Part | None = None) -> Iterator[tuple[nn.Parameter, Part]]:
    """The weights of the linear maps in attention and MLPs, by the innermost of these."""
    for child in module.children():
        kind, own = type(child).__name__, part
        if _POOLING.search(kind):
            continue
        if _ATTENTION.search(kind):
            own = "attention"
        # Everything in a block besides its attention is its MLP, whatever its name.
        elif _MLP.search(kind) or _holds_attention(child):
            own = "mlp"
        if own is not None:
            yield from ((weight, own) for weight in _linear_maps(child))
        yield from _parts_of(child, own)


def _holds_attention(module: nn.Module) -> bool:
    """Whether a child is attention, directly or in a container."""
    return any(
        _holds_attention(child)
        if isinstance(child, _CONTAINERS)
        else _ATTENTION.search(type(child).__name__)
        for child in module.children()
    )


def _linear_maps(module: nn.Module) -> list[nn.Parameter]:
    """Weight matrices of a linear map or of torch's multi-head attention."""
    names = ["weight"] if isinstance(module, nn.Linear) else []
    if isinstance(module, nn.MultiheadAttention):
        names = ["in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"]
    return [w for name in names if isinstance(w := getattr(module, name), nn.Parameter)]


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
    return _total((parameter * gradient).abs() for parameter, gradient in pairs)


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
    return _total(torch.linalg.vector_norm(g, dtype=torch.float64) for _, g in pairs)


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

        def gradients(outputs: Any, *grad_outputs: Any, twice: bool = False) -> Sequence[Tensor]:
            # The graph is kept: networks that cache tensors share parts of it.
            options: Any = {"retain_graph": True, "create_graph": twice, "materialize_grads": True}
            return torch.autograd.grad(outputs, parameters, *grad_outputs, **options)

        def growth(x: Tensor, y: Tensor) -> Tensor:
            """``θᵀHv`` of some images along the gradient ``v`` of all, from ``vᵀg``."""
            pairs = zip(gradients(_batch_loss(model, x, y), twice=True), directions, strict=True)
            own, along = zip(*((g, v) for g, v in pairs if g.requires_grad), strict=True)
            terms = zip(parameters, gradients(own, along), strict=True)
            products = [(p.detach() * hv).sum(dtype=torch.float64) for p, hv in terms]
            return torch.stack(products).sum() * (len(x) / len(images))

        directions = gradients(_batch_loss(model, images, labels))
        batches = zip(images.split(_CHUNK), labels.split(_CHUNK), strict=True)
        # Fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            return -_total(growth(x, y) for x, y in batches)


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
    return _total((z.detach() * g).square() for z, g in pairs if g is not None)


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
    sums = torch.stack([part.sum() for part in ratios.split([len(x) for x in layers])]).cpu()
    if not sums.isfinite().all():
        raise ValueError(f"{type(model).__name__} gives gradients that are not finite")
    varied = sums[sums != 0]
    return float(varied.log().sum()) if len(varied) else math.nan


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
    scores = logits(model, input_for(model, images))
    loss = F.cross_entropy(scores, labels.to(scores.device) % scores.shape[1])
    if not loss.requires_grad:
        raise ValueError(f"no parameter of {type(model).__name__} reaches its loss")
    return loss


@contextmanager
def _differentiable(model: nn.Module) -> Iterator[list[nn.Parameter]]:
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


def _total(parts: Iterable[Tensor]) -> float:
    """Sum of all elements of all tensors, in float64, with one device synchronisation."""
    return float(torch.stack([part.sum(dtype=torch.float64) for part in parts]).sum())
