"""ZiCo: how little the gradient of each weight varies between batches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from proxies.features import evaluating
from proxies.saliency import LAYERS, batch_loss


def zico(model: nn.Module, images: Tensor, labels: Tensor, *, batches: int = 2) -> float:
    """Inverse coefficient of variation of the gradients, over batches.

    ``Σ_l log Σ_{ω ∈ θ_l} E|∂L/∂ω| / √Var|∂L/∂ω|``, mean and (population) variance over batches.
    Layers are linear maps and convolutions, each with its weight and bias. A weight whose gradient
    does not vary has no coefficient and is left out, as is a layer that has only such weights, for
    instance behind a gain that starts at zero. Dimensionless; higher is better. The images are
    split into batches, which together cost one forward and one backward pass.

    The paper's code takes the deviation of signed gradients, adds the gradients of earlier batches
    to those of later ones, and leaves out biases; its formula does none of these.

    Args:
        model: Any classifier; not changed.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.
        labels: Class of each image, ``[n]``, taken modulo the model's number of classes.
        batches: Number of batches; two suffice according to the paper.

    Returns:
        The score; NaN if no gradient varies between batches.

    Raises:
        ValueError: If ``batches < 2``, there are fewer images than batches, the model is not a
            classifier, or no layer reaches its loss.

    References:
        Li et al. 2023, arXiv:2301.11300.
    """
    if batches < 2:
        raise ValueError(f"batches={batches}; use at least 2")
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
    ratios = torch.stack([_inverse_variation(grads) for grads in zip(*samples, strict=True)])
    sums = torch.stack([part.sum() for part in ratios.split([len(x) for x in layers])])
    score = torch.where(sums == 0, 0, sums.log()).sum()
    return float(torch.where((sums == 0).all(), torch.nan, score))


def _layers(model: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters of each layer; shared ones belong to the first of their layers."""
    seen: set[nn.Parameter] = set()
    layers = []
    for module in model.modules():
        if isinstance(module, LAYERS):
            own = [p for p in module.parameters(recurse=False) if p.requires_grad]
            layers.append([p for p in own if p not in seen])
            seen.update(own)
    return [layer for layer in layers if layer]


def _inverse_variation(gradients: Sequence[Tensor]) -> Tensor:
    """Mean over deviation of the absolute gradients of a parameter, summed over its elements.

    Elements with zero deviation count as 0.
    """
    absolute = torch.stack(list(gradients)).double().abs_()
    mean = absolute.mean(0)
    # Ten times as fast as torch.std_mean for a few batches.
    deviation = absolute.sub_(mean).square_().mean(0).sqrt_()
    return torch.where(deviation == 0, 0, mean / deviation).sum()
