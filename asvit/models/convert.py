"""Conversion of networks to hallucinated attention and compact feed-forward parts.

A compact part has one map in two factors, each with branches that merge for inference. The
published converted networks are in timm's registry.
"""

import copy
import inspect
import math
import operator
from functools import reduce
from typing import Any, Literal, cast

import timm
import torch
from torch import Tensor, nn

from asvit.models.blocks import check_choice, init_by_width, is_linear, register_variants
from asvit.models.hallucinated import HeadRule, Maps, hallucinate
from proxies.text import shown

__all__ = ["HALLUCINATED_HOSTS", "convert", "merge"]

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


def _new_map(inputs: int, outputs: int, *, images: bool, bias: bool, std: float = _STD) -> Any:
    """A linear map, or for ``images`` a 1 × 1 convolution."""
    sizes = inputs, outputs
    linear = nn.Conv2d(*sizes, 1, bias=bias) if images else nn.Linear(*sizes, bias=bias)
    nn.init.normal_(linear.weight, std=std)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear


class Branch(nn.Module):
    """A linear map without bias, then a batch norm; shapes as :class:`BranchedMap`."""

    def __init__(self, inputs: int, outputs: int, *, images: bool, std: float) -> None:
        super().__init__()
        self.linear = _new_map(inputs, outputs, images=images, bias=False, std=std)
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
        norm: Any = self.norm
        scale = _wide(norm.weight) / (_wide(norm.running_var) + norm.eps).sqrt()
        weight = _wide(self.linear.weight)
        rows = scale.reshape(-1, *[1] * (weight.ndim - 1))
        return rows * weight, _wide(norm.bias) - scale * _wide(norm.running_mean)


def _wide(tensor: Tensor) -> Tensor:
    return (tensor if tensor.is_meta else tensor.cpu()).double()  # Apple's MPS has no float64


class BranchedMap(nn.Module):
    """A linear map, trained as a sum of branches, each a map without bias and a batch norm."""

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
        return cast("Tensor", reduce(operator.add, (branch(x) for branch in self.branches)))

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
            merged = _new_map(inputs, outputs, images=bool(kernel), bias=True)
        merged.to(like.dtype).to_empty(device=like.device)
        merged.load_state_dict({"weight": sum(weights), "bias": sum(biases)})
        return cast("nn.Linear | nn.Conv2d", merged.train(self.training))


class CompactMap(nn.Module):
    """A linear map in two factors with nothing between them: fewer weights and less work."""

    def __init__(
        self, inputs: int, outputs: int, width: int, *, branches: int = 2, images: bool = False
    ) -> None:
        super().__init__()

        def factor(inputs: int, outputs: int, std: float) -> nn.Module:
            if branches:
                return BranchedMap(inputs, outputs, branches, images=images, std=std)
            return cast("nn.Module", _new_map(inputs, outputs, images=images, bias=True, std=std))

        # The entries of the product then have the standard deviation of the replaced map's.
        self.reduce = factor(inputs, width, width**-0.5)
        self.expand = factor(width, outputs, _STD)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., inputs] -> [..., outputs]``, or ``[B, inputs, H, W] -> [B, outputs, H, W]``."""
        return cast("Tensor", self.expand(self.reduce(x)))


def convert(
    model: nn.Module,
    attention: Literal["hallucinated"] | None = None,
    ffn: Literal["compact"] | None = None,
    *,
    heads: HeadRule = "double_odd",
    maps: Maps = "within_across",
    kept: float = 0.5,
    ratio: float = 2 / 3,
    factored: Literal["second", "first"] = "second",
    branches: int = 2,
    inplace: bool = False,
) -> nn.Module:
    """Replace attention by hallucinated attention, feed-forward parts by compact ones, or both.

    Attention is replaced in timm's DeiT and other plain vision transformers, PVTv2 (without linear
    attention) and Next-ViT; the second linear map of feed-forward parts is replaced in any
    network. Queries, keys, the convolutions over maps and the replaced maps are newly initialised;
    everything else keeps its weights. The network must then be trained. With ``branches`` it is in
    its training form, which :func:`merge` turns into the smaller one for inference.

    Args:
        model: The network.
        attention: ``"hallucinated"``, or None to keep it.
        ffn: ``"compact"``, or None to keep them.
        heads: Double the heads of all layers, always or if any number is odd.
        maps: Convolutions within each head and across heads: their order, or the one of them.
        kept: Share of the heads with real maps, above 0 and at most 1.
        ratio: Compact ratio t: ``t * m * C / (m + 1)`` channels between the factors.
        factored: Which of the two linear maps of a feed-forward part is replaced by factors.
        branches: Branches (linear map, batch norm) of each factor in training; 0 for none.
        inplace: Convert ``model`` itself instead of a copy.

    Returns:
        The converted network, with the device, dtype and mode of ``model``.

    Raises:
        ValueError: If there is nothing to convert, an argument is not one of its choices or is for
            a part that stays, or an attention cannot be replaced.

    References:
        arXiv:2306.10875. Except for ``heads``, the defaults are the paper's.

    Example:
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        >>> converted = asvit.convert(network, attention="hallucinated", ffn="compact")
        >>> converted(torch.randn(1, 3, 32, 32)).shape
        torch.Size([1, 1000])
    """
    check_choice("attention", attention, ("hallucinated", None))
    check_choice("ffn", ffn, ("compact", None))
    check_choice("factored", factored, ("second", "first"))
    if attention is None and ffn is None:
        raise ValueError("nothing to convert; ask for attention='hallucinated' or ffn='compact'")
    if branches < 0:
        raise ValueError(f"branches must be at least 0, got {branches}")
    idle: dict[str, object] = {} if attention else {"heads": heads, "maps": maps, "kept": kept}
    idle |= {} if ffn else {"ratio": ratio, "factored": factored}
    for name, value in idle.items():
        if value != inspect.signature(convert).parameters[name].default:
            raise ValueError(f"{name}={shown(value)} is a setting of a part that is not converted")
    model = model if inplace else copy.deepcopy(model)
    kind = type(model).__name__
    if attention and not hallucinate(model, heads, kept, maps):
        raise ValueError(
            f"{kind} has no attention that can be replaced; use a DeiT, PVTv2 or Next-ViT that is "
            "not converted yet"
        )
    name = "fc2" if factored == "second" else "fc1"
    if ffn and not _compact_parts(model, name, ratio, branches):
        raise ValueError(
            f"{kind} has no feed-forward part with two maps, fc1 to more channels and fc2 back, "
            "that is not compact yet"
        )
    return model


def _compact_parts(model: nn.Module, name: str, ratio: float, branches: int) -> int:
    """Replace the map ``name`` of every feed-forward part by factors, and return their number."""
    count = 0
    by_width = any(getattr(module, "weights_suit_width", False) for module in model.modules())
    for part in list(model.modules()):
        fc1, fc2 = getattr(part, "fc1", None), getattr(part, "fc2", None)
        if not (is_linear(fc1) and is_linear(fc2)):
            continue
        (hidden, inputs), (outputs, read) = fc1.weight.shape[:2], fc2.weight.shape[:2]
        if not hidden == read > inputs == outputs:
            continue
        old: Any = getattr(part, name)
        before, after = (hidden, outputs) if name == "fc2" else (inputs, hidden)
        width, images = compact_width(hidden, inputs, ratio), isinstance(old, nn.Conv2d)
        new = CompactMap(before, after, width, branches=branches, images=images)
        if by_width:
            new.apply(init_by_width)
        setattr(part, name, new.to(old.weight).train(old.training))
        count += 1
    return count


def merge(model: nn.Module, *, inplace: bool = False) -> nn.Module:
    """Turn a network's training form into that for inference: branches become one map each.

    Outputs in evaluation mode stay equal up to rounding. A network without branches is unchanged.

    The result is a copy in the mode of ``model``, or with ``inplace`` the network itself.

    Example:
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        >>> trained = asvit.convert(network, ffn="compact", branches=2)
        >>> merged = asvit.merge(trained)
        >>> proxies.count(merged, 32).params < proxies.count(trained, 32).params
        True
    """
    model = model if inplace else copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BranchedMap):
                setattr(parent, name, child.merged())
    return model


#: Name in timm -> the base model, and the rule for its heads that gives the published savings.
#: DeiT and PVTv2 get twice their heads, as the published numbers of maps and parameters imply.
HALLUCINATED_HOSTS: dict[str, tuple[str, HeadRule]] = {
    "hallucinated_deit_tiny_patch16_224": ("deit_tiny_patch16_224", "double"),
    "hallucinated_deit_small_patch16_224": ("deit_small_patch16_224", "double"),
    "hallucinated_pvt_v2_b1": ("pvt_v2_b1", "double"),
    "hallucinated_nextvit_small": ("nextvit_small", "double_odd"),
}

#: Entries of the base model's configuration that hold for the converted network, too.
_INHERITED = (
    *("num_classes", "input_size", "pool_size", "fixed_input_size", "crop_pct", "interpolation"),
    *("mean", "std", "first_conv", "classifier"),
)
_SETTINGS = tuple(inspect.signature(convert).parameters)[1:-1]  # without model and inplace


def _cfg(base: str) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(base).to_dict()
    inherited = {key: config[key] for key in _INHERITED if key in config}
    return {**inherited, "paper_ids": "arXiv:2306.10875"}


def _create(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build the base model with timm's arguments and convert it with those of :func:`convert`."""
    if pretrained:
        raise ValueError(f"{name} has no published weights; use pretrained=False")
    base, heads = HALLUCINATED_HOSTS[name]
    settings: dict[str, Any] = {"attention": "hallucinated", "ffn": "compact"}
    settings |= {key: kwargs.pop(key) for key in _SETTINGS if key in kwargs}
    # timm drops arguments of None, so False keeps a part.
    settings |= {key: settings[key] or None for key in ("attention", "ffn")}
    if settings["attention"]:
        settings.setdefault("heads", heads)
    for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):  # about weights
        kwargs.pop(key, None)
    model: Any = timm.create_model(base, **kwargs)
    if hasattr(model, "pretrained_cfg"):
        model.pretrained_cfg = model.default_cfg = timm.get_pretrained_cfg(name).to_dict()
    return convert(model, **settings, inplace=True)


register_variants(
    __name__, _create, {name: _cfg(base) for name, (base, _) in HALLUCINATED_HOSTS.items()}
)
