"""How differently a network treats different images: input gradients, and signs of units."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from proxies.errors import first_line
from proxies.features import evaluating, reference_tensor
from proxies.fetching import fetch
from proxies.memory import in_chunks
from proxies.substitution import call_with, stand_ins

# Keeps the logarithm and the inverse finite, as in the paper.
_OFFSET = 1e-5
# Signs held at a time, 16 MB in float32, which also adds this many of them exactly.
_BLOCK_SIGNS = 1 << 22


def jacobian_covariance(model: nn.Module, images: Tensor) -> float:
    """How little the gradients of the output by the input of different images correlate.

    With ``J`` the gradients ``[n, C·H·W]`` of the summed outputs by each image and ``σ`` the
    eigenvalues of the correlation matrix of its rows: ``−Σ [ln(σ + k) + 1/(σ + k)]``, k = 1e-5.
    Without unit; higher is better, and ``−n`` is the most there can be, but for k. One forward and
    one backward pass, without weight gradients. In evaluation mode, unlike the authors' code: in
    training mode batch norms would mix the images.

    Args:
        model: Any module whose samples do not interact.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.

    Raises:
        ValueError: If there are fewer than two images, or the gradient of one has no correlation
            with others because it is constant.

    References:
        Mellor et al. 2020, "Neural Architecture Search without Training", in its first version,
        arXiv:2006.04647v1; called jacob_cov by Abdelfattah et al. 2021, arXiv:2101.08134.
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

    The code of an image has a bit for every unit in front of a rectifier, which tells whether the
    unit is positive; ``K`` ``[n, n]`` counts in how many bits two codes agree. Rectifiers are
    ReLU, GELU, SiLU and their kin, as modules or as functions; every channel of every token or
    position is a unit. Tanh, sigmoid and softmax have no side on which a unit is off, and are
    none; a rectifier written as a product, such as ``x·σ(x)``, is not seen. Without unit; higher
    is better. One forward pass, and one of a single image.

    Args:
        model: Any module whose samples do not interact.
        images: ``[n, C, H, W]``, cast to the model's dtype and device.

    Returns:
        The logarithm; NaN where ``K`` is singular because two codes are the same, or there are
        too few units.

    Raises:
        ValueError: If there are fewer than two images, the model has no rectifier whose input
            depends on the image, or its output is not finite.

    References:
        Mellor et al. 2021, "Neural Architecture Search without Training", arXiv:2006.04647v3,
        for ReLU.
    """
    images = _at_least_two(images).to(reference_tensor(model))
    shapes: list[torch.Size] = []
    agreements = _Agreements(len(images), shapes, images.device)
    with torch.no_grad(), evaluating(model):
        with _Rectifiers(lambda units: shapes.append(units.shape)):
            network_output(model, images[:1])
        with _Rectifiers(agreements.add):
            out = network_output(model, images)
    if not agreements.units:
        raise ValueError(f"{type(model).__name__} has no rectifier that depends on the image")
    kernel, finite = fetch([agreements.kernel(), out.isfinite().all()])
    if not finite:
        raise ValueError(f"{type(model).__name__} gives outputs that are not finite")
    spectrum = torch.linalg.eigvalsh(kernel)
    if not spectrum[0] > len(spectrum) * torch.finfo(torch.float64).eps * spectrum[-1]:
        return torch.nan
    return float(spectrum.log().sum())


def network_output(model: nn.Module, images: Tensor) -> Tensor:
    """Output of a network, ``[n, ...]``; its parameters are constants, whatever they ask for.

    Raises:
        ValueError: If the model cannot take the images, or gives something else than one tensor
            with a row per image.
    """
    try:
        out = call_with(model, stand_ins(model, Tensor.detach), images)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{type(model).__name__}: {first_line(error)}") from error
    if not isinstance(out, Tensor) or out.shape[:1] != images.shape[:1]:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"{type(model).__name__} gives {found} for {len(images)} images; "
            "a measure needs one tensor with a row for each image"
        )
    return out


class _Rectifiers(TorchFunctionMode):
    """Inside, the input of every rectifier is shown to a function, in order."""

    def __init__(self, see: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._see = see

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _RECTIFIERS:
            # First, because it may be done in place.
            self._see(args[0] if args else kwargs["input"])
        return func(*args, **kwargs)


class _Agreements:
    """Adds up in how many units the signs of images agree, and holds no signs itself.

    Args:
        samples: Number n of images.
        alone: Shape of the input of each rectifier for a single image. Next to the shape for n
            images it tells which axis the samples lie along, and which rectifiers see none.
        device: Where the rectifiers compute.
    """

    def __init__(self, samples: int, alone: Sequence[torch.Size], device: torch.device) -> None:
        self._samples = samples
        self._alone = iter(alone)
        # Inner products of the images' signs: agreements less disagreements.
        self._products = torch.zeros(samples, samples, dtype=torch.float64, device=device)
        self.units = 0

    def add(self, units: Tensor) -> None:
        """Take in the input of the next rectifier."""
        alone = next(self._alone, units.shape)
        axis = next((i for i, size in enumerate(alone) if size != units.shape[i]), None)
        if axis is None:
            return
        rows = units.movedim(axis, 0).reshape(self._samples, -1)
        self.units += rows.shape[1]
        for piece in rows.split(max(1, _BLOCK_SIGNS // self._samples), dim=1):
            signs = (piece > 0).float().mul_(2).sub_(1)
            self._products += signs @ signs.T

    def kernel(self) -> Tensor:
        """In how many units two images agree, ``[n, n]`` float64."""
        return (self._products + self.units) / 2


def _input_gradients(model: nn.Module, images: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        # A copy, because the network may change its input in place.
        total = network_output(model, leaf.clone()).sum()
    if not total.requires_grad:
        raise ValueError(f"the output of {type(model).__name__} ignores its input")
    return torch.autograd.grad(total, leaf)[0]


def _at_least_two(images: Tensor) -> Tensor:
    if len(images) < 2:
        raise ValueError(f"{len(images)} images cannot be told apart; use at least 2")
    return images


_RECTIFIERS = {
    *(F.relu, F.relu_, F.relu6, F.gelu, F.silu, F.mish, F.hardswish, F.softplus),
    *(F.elu, F.elu_, F.celu, F.celu_, F.selu, F.selu_),
    *(F.leaky_relu, F.leaky_relu_, F.prelu, F.rrelu, F.rrelu_),
    *(torch.relu, torch.relu_, torch.celu, torch.celu_, torch.selu, torch.selu_),
    *(torch.prelu, torch.rrelu, torch.rrelu_),
    *(Tensor.relu, Tensor.relu_, Tensor.prelu),
}
