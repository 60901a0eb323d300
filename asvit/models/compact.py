"""The compact feed-forward part: a map in two factors, each with branches that merge."""

import copy
import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from asvit.models.blocks import init_by_width, is_linear

_STD = 0.02  # of the initial weights of the maps that are replaced


def compact_width(hidden: int, out: int, ratio: float = 2 / 3) -> int:
    """Channels between the factors of a map from ``hidden`` to ``out`` channels.

    ``ratio * m * C / (m + 1)``, rounded, with ``out = C`` and ``hidden = mC``. At ratio 1 the two
    factors cost as much as the map.
    """
    if not 0 < ratio < math.inf:
        raise ValueError(f"ratio must be positive and finite, got {ratio}")
    width = round(ratio * hidden * out / (hidden + out))
    if width < 1:
        raise ValueError(f"ratio={ratio:g} leaves no channel between {hidden} and {out}; use more")
    return width


def new_map(
    inputs: int, outputs: int, *, images: bool, bias: bool, std: float = _STD
) -> nn.Linear | nn.Conv2d:
    """A newly initialised linear map or 1 × 1 convolution."""
    if images:
        linear: nn.Linear | nn.Conv2d = nn.Conv2d(inputs, outputs, 1, bias=bias)
    else:
        linear = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(linear.weight, std=std)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear


class Branch(nn.Module):
    """A linear map without bias, then a batch norm; shapes as :class:`BranchedMap`."""

    def __init__(self, inputs: int, outputs: int, *, images: bool, std: float) -> None:
        super().__init__()
        self.linear = new_map(inputs, outputs, images=images, bias=False, std=std)
        self.norm = nn.BatchNorm2d(outputs) if images else nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the branch; the norm takes statistics of each channel over batch and tokens."""
        x = self.linear(x)
        if isinstance(self.linear, nn.Conv2d):
            return cast("Tensor", self.norm(x))
        tokens = x.reshape(-1, x.shape[-1])  # here, as a norm may be made a synchronised one
        return cast("Tensor", self.norm(tokens).reshape(x.shape))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the equivalent map in evaluation mode, in float64 on the CPU."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        if mean is None or variance is None:
            raise ValueError("a batch norm without running statistics cannot be merged")
        weight, bias = _wide(self.linear.weight), _wide(self.norm.bias)
        scale = _wide(self.norm.weight) / (_wide(variance) + self.norm.eps).sqrt()
        rows = scale.reshape(-1, *[1] * (weight.ndim - 1))
        return rows * weight, bias - scale * _wide(mean)


def _wide(tensor: Tensor) -> Tensor:
    """A tensor in float64, on the CPU, as Apple's MPS has none; one without values stays."""
    return (tensor if tensor.is_meta else tensor.cpu()).double()


class BranchedMap(nn.Module):
    """A linear map, trained as a sum of branches, each a map without bias and a batch norm.

    In evaluation mode it equals one map with a bias, which :meth:`merged` returns. For ``images``
    it applies to ``[B, channels, H, W]`` as a 1 × 1 convolution, otherwise to ``[..., channels]``.
    ``std`` is the initial standard deviation of the sum of the branches' weights.
    """

    def __init__(
        self, inputs: int, outputs: int, branches: int, *, images: bool = False, std: float = _STD
    ) -> None:
        super().__init__()
        std *= branches**-0.5
        self.branches = nn.ModuleList(
            Branch(inputs, outputs, images=images, std=std) for _ in range(branches)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[..., inputs] -> [..., outputs]``, or ``[B, inputs, H, W] -> [B, outputs, H, W]``."""
        first, *others = list(self.branches)
        out: Tensor = first(x)
        for branch in others:
            out = out + branch(x)
        return out

    @torch.no_grad()
    def merged(self) -> nn.Linear | nn.Conv2d:
        """The map with a bias that equals the branches in evaluation mode.

        For a branch with weight W, gain γ, offset β, running mean μ and variance v, with
        ``s = γ / √(v + ε)``: weight ``Σ diag(s) W`` and bias ``Σ β − s ⊙ μ``.
        """
        branches = [cast("Branch", branch) for branch in self.branches]
        weights, biases = zip(*(branch.folded() for branch in branches), strict=True)
        like = branches[0].linear.weight
        outputs, inputs, *kernel = like.shape
        with torch.device("meta"):  # which draws no random numbers
            merged = new_map(inputs, outputs, images=bool(kernel), bias=True)
        merged.to(like.dtype).to_empty(device=like.device)
        merged.load_state_dict({"weight": sum(weights), "bias": sum(biases)})
        return merged.train(self.training)


class CompactMap(nn.Module):
    """A linear map in two factors with nothing between them: fewer weights and less work.

    It replaces the second map of a feed-forward part. The factors are never multiplied out, which
    would give the full map again. Between them are ``width`` channels, see :func:`compact_width`.
    Each factor has ``branches`` in training, see :class:`BranchedMap`; 0 for plain, merged maps.

    References:
        arXiv:2306.10875.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, *, branches: int = 2, images: bool = False
    ) -> None:
        super().__init__()
        if branches < 0:
            raise ValueError(f"branches must be at least 0, got {branches}")
        # The entries of the product then have the standard deviation of the replaced map's.
        self.reduce = _factor(inputs, width, branches, images=images, std=width**-0.5)
        self.expand = _factor(width, outputs, branches, images=images, std=_STD)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., inputs] -> [..., outputs]``, or ``[B, inputs, H, W] -> [B, outputs, H, W]``."""
        return cast("Tensor", self.expand(self.reduce(x)))


def _factor(inputs: int, outputs: int, branches: int, *, images: bool, std: float) -> nn.Module:
    if branches:
        return BranchedMap(inputs, outputs, branches, images=images, std=std)
    return new_map(inputs, outputs, images=images, bias=True, std=std)


def compact_parts(
    model: nn.Module, name: str, *, ratio: float, branches: int, by_width: bool
) -> int:
    """Replace the map ``name`` of every feed-forward part by factors, and return their number.

    A part has linear maps ``fc1`` from C channels to more, and ``fc2`` back to C. ``by_width``
    says how new weights are drawn, as :func:`init_by_width` does or as those of the network.
    """
    count = 0
    for part in list(model.modules()):
        fc1, fc2 = getattr(part, "fc1", None), getattr(part, "fc2", None)
        if not (is_linear(fc1) and is_linear(fc2)):
            continue
        (hidden, inputs), (outputs, read) = fc1.weight.shape[:2], fc2.weight.shape[:2]
        if not hidden == read > inputs == outputs:
            continue
        old: Any = getattr(part, name)
        new = CompactMap(
            old.weight.shape[1],
            old.weight.shape[0],
            compact_width(hidden, inputs, ratio),
            branches=branches,
            images=isinstance(old, nn.Conv2d),
        )
        if by_width:
            new.apply(init_by_width)
        setattr(part, name, new.to(old.weight).train(old.training))
        count += 1
    return count


def merge(model: nn.Module, *, inplace: bool = False) -> nn.Module:
    """Turn a network's training form into that for inference: branches become one map each.

    Outputs in evaluation mode stay equal up to rounding. A network without branches is unchanged.

    Args:
        model: A network from :func:`convert`, or any that contains converted parts.
        inplace: Merge ``model`` itself instead of a copy.

    Returns:
        The merged network, in the mode of ``model``.

    Example:
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        >>> trained = asvit.convert(network, ffn="compact", branches=2)
        >>> merged = asvit.merge(trained)
        >>> proxies.count(merged, 32).params < proxies.count(trained, 32).params
        True
    """
    model = model if inplace else copy.deepcopy(model)
    if isinstance(model, BranchedMap):
        return model.merged()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BranchedMap):
                setattr(parent, name, child.merged())
    return model
