"""Measures of how differently a network responds to images: input gradients, unit signs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.features import evaluating, reference_tensor
from proxies.functional import network_output
from proxies.memory import in_chunks, to_host
from proxies.operations import InterceptOperations, Operation

# Keeps the logarithm and the inverse finite; the paper's value.
_OFFSET = 1e-5
# Signs processed at a time: 16 MB in float32, which also adds up this many exactly.
_BLOCK_SIGNS = 1 << 22


def jacobian_covariance(model: nn.Module, images: Tensor) -> float:
    """How little the input gradients of different images correlate.

    With ``J`` the gradients ``[n, C·H·W]`` of the summed outputs with respect to each image and
    ``σ`` the eigenvalues of the correlation matrix of its rows:
    ``−Σ [ln(σ + k) + 1/(σ + k)]``, k = 1e-5. Dimensionless; higher is better, at most about
    ``−n``. One forward and one backward pass, without weight gradients. In evaluation mode, unlike
    the authors' code: in training mode batch norms would mix the images.

    Args:
        model: Any module whose samples do not interact.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.

    Raises:
        ValueError: If there are fewer than two images, or one has a constant gradient, whose
            correlation is undefined.

    References:
        Mellor et al. 2020, "Neural Architecture Search without Training", in its first version,
        arXiv:2006.04647v1; named jacob_cov by Abdelfattah et al. 2021, arXiv:2101.08134.
    """
    images = _at_least_two(images).to(reference_tensor(model))
    key = ("the input gradients", tuple(images.shape), str(images.device))
    with evaluating(model):
        gradients = in_chunks(
            lambda rows: _input_gradients(model, images[rows]), len(images), key=key
        )
    rows = gradients.flatten(1).double()
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    correlation = (rows @ rows.T).cpu()
    if not correlation.isfinite().all():
        raise ValueError(
            f"{type(model).__name__} gives an image a constant gradient, or one that is not finite"
        )
    shifted = torch.linalg.eigvalsh(correlation) + _OFFSET
    return -float((shifted.log() + 1 / shifted).sum())


def naswot(model: nn.Module, images: Tensor) -> float:
    """NASWOT: in how many units different images differ, ``ln det K``.

    The code of an image has one bit for each input of a rectifier: whether it is positive. ``K``
    ``[n, n]`` counts the bits in which two codes agree. Rectifiers are ReLU, GELU, SiLU and the
    like, as modules or functions; every channel of every token or position is a unit. Tanh,
    sigmoid and softmax do not count: they have no off state. A rectifier written as a product,
    such as ``x·σ(x)``, is not detected. Dimensionless; higher is better. One forward pass, and
    one of a single image.

    Args:
        model: Any module whose samples do not interact.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.

    Returns:
        The logarithm; NaN if ``K`` is singular because two codes are equal or there are too few
        units.

    Raises:
        ValueError: If there are fewer than two images, the model has no rectifier whose input
            depends on the image, or its output is not finite.

    References:
        Mellor et al. 2021, "Neural Architecture Search without Training", arXiv:2006.04647v3,
        for ReLU.
    """
    images = _at_least_two(images).to(reference_tensor(model))
    shapes: list[torch.Size] = []
    agreements = _SignAgreements(len(images), shapes, images.device)
    with torch.no_grad(), evaluating(model):
        with _OnRectifierInputs(lambda units: shapes.append(units.shape)):
            network_output(model, images[:1])
        with _OnRectifierInputs(agreements.add):
            out = network_output(model, images)
    if not agreements.units:
        raise ValueError(f"{type(model).__name__} has no rectifier that depends on the image")
    kernel, finite = to_host([agreements.kernel(), out.isfinite().all()])
    if not finite:
        raise ValueError(f"{type(model).__name__} gives outputs that are not finite")
    spectrum = torch.linalg.eigvalsh(kernel)
    if not spectrum[0] > len(spectrum) * torch.finfo(torch.float64).eps * spectrum[-1]:
        return torch.nan
    return float(spectrum.log().sum())


class _OnRectifierInputs(InterceptOperations):
    """Inside, call a function with the input of every rectifier, in order."""

    def __init__(self, visit: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._visit = visit

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if func in _RECTIFIERS:
            # Before the call, which may be in place.
            self._visit(args[0] if args else kwargs["input"])
        return func(*args, **kwargs)


class _SignAgreements:
    """Counts the units in which the signs of two images agree, without keeping the signs.

    Args:
        samples: Number n of images.
        single_shapes: Input shape of each rectifier for a single image. Compared with the shape
            for n images it shows the sample axis, and which rectifiers do not see the images.
        device: Device of the network.
    """

    def __init__(
        self, samples: int, single_shapes: Sequence[torch.Size], device: torch.device
    ) -> None:
        self._samples = samples
        self._single_shapes = iter(single_shapes)
        # Inner products of signs: agreements minus disagreements.
        self._products = torch.zeros(samples, samples, dtype=torch.float64, device=device)
        self.units = 0

    def add(self, units: Tensor) -> None:
        """Add the input of the next rectifier."""
        single = next(self._single_shapes, units.shape)
        axis = next((i for i, size in enumerate(single) if size != units.shape[i]), None)
        if axis is None:
            return
        rows = units.movedim(axis, 0).reshape(self._samples, -1)
        self.units += rows.shape[1]
        for piece in rows.split(max(1, _BLOCK_SIGNS // self._samples), dim=1):
            signs = (piece > 0).float().mul_(2).sub_(1)
            self._products += signs @ signs.T

    def kernel(self) -> Tensor:
        """Number of units in which two images agree, ``[n, n]`` float64."""
        return (self._products + self.units) / 2


def _input_gradients(model: nn.Module, images: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        # A copy: the network may change its input in place.
        total = network_output(model, leaf.clone()).sum()
    if not total.requires_grad:
        raise ValueError(f"the output of {type(model).__name__} ignores its input")
    return torch.autograd.grad(total, leaf)[0]


def _at_least_two(images: Tensor) -> Tensor:
    if len(images) < 2:
        raise ValueError(f"{len(images)} images cannot be compared; use at least 2")
    return images


_RECTIFIERS = {
    *(F.relu, F.relu_, F.relu6, F.gelu, F.silu, F.mish, F.hardswish, F.softplus),
    *(F.elu, F.elu_, F.celu, F.celu_, F.selu, F.selu_),
    *(F.leaky_relu, F.leaky_relu_, F.prelu, F.rrelu, F.rrelu_),
    *(torch.relu, torch.relu_, torch.celu, torch.celu_, torch.selu, torch.selu_),
    *(torch.prelu, torch.rrelu, torch.rrelu_),
    *(Tensor.relu, Tensor.relu_, Tensor.prelu),
}
