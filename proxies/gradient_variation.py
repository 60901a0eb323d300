"""ZiCo: how steady the gradient of each weight is from batch to batch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from proxies.features import evaluating
from proxies.saliency import LAYERS, batch_loss


def zico(model: nn.Module, images: Tensor, labels: Tensor, *, batches: int = 2) -> float:
    """Inverse coefficient of variation of the gradients, over batches.

    ``Σ_l log Σ_{ω ∈ θ_l} E|∂L/∂ω| / √Var|∂L/∂ω|``, mean and (population) variance over batches.
    Layers are linear maps and convolutions, each with its weight and bias. A weight whose gradient
    does not vary has no coefficient and is left out, as is a layer of nothing but such weights: a
    branch behind a gain that starts at zero, say. Dimensionless; higher is better. The images are
    split into as many batches: together they cost one forward and one backward pass.

    The paper's code takes the deviation of the signed gradients, adds each batch's gradient to
    those before, and leaves biases out; its formula does none of these.

    Args:
        model: Any classifier; left as it was.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.
        labels: Class of each image, ``[n]``, taken modulo the model's number of classes.
        batches: How many batches; the paper finds two enough.

    Returns:
        The score; NaN where no gradient varies from batch to batch.

    Raises:
        ValueError: If ``batches < 2``, there are fewer images than batches, the model is no
            classifier, or no layer reaches its loss.

    References:
        Li et al. 2023, arXiv:2301.11300.
    """
    if batches < 2:
        raise ValueError(f"batches={batches}; a variation needs at least 2")
    if len(images) < batches:
        raise ValueError(f"{len(images)} images for {batches} batches; use at least {batches}")
    layers = _layers(model)
    parameters = [parameter for layer in layers for parameter in layer]
    if not parameters:
        raise ValueError(f"{type(model).__name__} has no linear layer or convolution to train")
    pieces = zip(images.tensor_split(batches), labels.tensor_split(batches), strict=True)
    with evaluating(model), torch.enable_grad():
        samples = [
            torch.autograd.grad(batch_loss(model, x, y), parameters, materialize_grads=True)
            for x, y in pieces
        ]
    steadiness = torch.stack([_steadiness(grads) for grads in zip(*samples, strict=True)])
    sums = torch.stack([part.sum() for part in steadiness.split([len(x) for x in layers])])
    score = torch.where(sums == 0, 0, sums.log()).sum()
    return float(torch.where((sums == 0).all(), torch.nan, score))


def _layers(model: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters of each layer; one that several layers share belongs to the first."""
    seen: set[nn.Parameter] = set()
    layers = []
    for module in model.modules():
        if isinstance(module, LAYERS):
            own = [p for p in module.parameters(recurse=False) if p.requires_grad]
            layers.append([p for p in own if p not in seen])
            seen.update(own)
    return [layer for layer in layers if layer]


def _steadiness(gradients: Sequence[Tensor]) -> Tensor:
    """Mean over deviation of a parameter's absolute gradients, summed over its elements.

    Elements without a deviation count as 0.
    """
    absolute = torch.stack(list(gradients)).double().abs_()
    mean = absolute.mean(0)
    # Ten times as fast as torch.std_mean over so few.
    deviation = absolute.sub_(mean).square_().mean(0).sqrt_()
    return torch.where(deviation == 0, 0, mean / deviation).sum()
