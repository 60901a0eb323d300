"""Conversion of networks to hallucinated attention and compact feed-forward parts.

The published converted networks are in timm's registry.
"""

import copy
import inspect
from typing import Any, Literal

import timm
from torch import nn

from asvit.models._registration import register_variants
from asvit.models.blocks import check_choice
from asvit.models.compact import CompactMap, compact_parts
from asvit.models.hallucinated import (
    Axis,
    ClassTokenRule,
    HallucinatedHeads,
    HeadRule,
    Maps,
    Rules,
    hallucinate,
)
from proxies.text import shown

__all__ = ["HALLUCINATED_HOSTS", "convert"]


def convert(
    model: nn.Module,
    attention: Literal["hallucinated"] | None = None,
    ffn: Literal["compact"] | None = None,
    *,
    heads: HeadRule = "double_odd",
    axis: Axis = "key",
    class_token: ClassTokenRule = "identity",
    map_bias: bool = True,
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
        heads: Rule for the number of heads and of real ones among them. ``"double_odd"`` doubles
            the heads of all layers if any number is odd, ``"double_each"`` only odd numbers,
            ``"double"`` always; ``"floor"`` and ``"ceil"`` keep the number and round the real
            half.
        axis: Whether the grid of the ``"key"`` or of the ``"query"`` tokens is convolved over.
        class_token: Effect of that convolution on tokens outside the grid: ``"identity"`` leaves
            them, ``"isolated"`` treats each as a grid of one.
        map_bias: Whether the convolutions over maps have a bias.
        maps: How maps are hallucinated: by a convolution within each head and one across heads
            (``"within_across"``), in the other order, by one of them alone (``"within"``,
            ``"across"``) or by neither (``"copy"``).
        kept: Share of the heads with real maps, above 0 and at most 1.
        ratio: Compact ratio t: ``t * m * C / (m + 1)`` channels between the factors.
        factored: Which of the two linear maps of a feed-forward part is replaced by factors.
        branches: Branches (linear map, batch norm) of each factor in training; 0 for plain linear
            maps, the merged form.
        inplace: Convert ``model`` itself instead of a copy.

    Returns:
        The converted network, with the device, dtype and mode of ``model``.

    Raises:
        ValueError: If there is nothing to convert, an argument is not one of its choices or is for
            a part that stays, or an attention cannot be replaced. With ``inplace`` some parts may
            then be converted.

    References:
        arXiv:2306.10875. ``ratio`` and ``branches`` default to the paper's values; the other
        defaults are ours, where the paper leaves the choice open.

    Example:
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        >>> converted = asvit.convert(network, attention="hallucinated", ffn="compact")
        >>> converted(torch.randn(1, 3, 32, 32)).shape
        torch.Size([1, 1000])
    """
    check_choice("attention", attention, ("hallucinated", None))
    check_choice("ffn", ffn, ("compact", None))
    if attention is None and ffn is None:
        raise ValueError("nothing to convert; ask for attention='hallucinated' or ffn='compact'")
    if branches < 0:
        raise ValueError(f"branches must be at least 0, got {branches}")
    if attention is None:
        _check_idle(
            "attention='hallucinated'",
            heads=heads,
            axis=axis,
            class_token=class_token,
            map_bias=map_bias,
            maps=maps,
            kept=kept,
        )
    if ffn is None:
        _check_idle("ffn='compact'", ratio=ratio, factored=factored)
    model = model if inplace else copy.deepcopy(model)
    kind = type(model).__name__
    check_choice("factored", factored, ("second", "first"))
    map_settings = {"axis": axis, "class_token": class_token, "bias": map_bias, "maps": maps}
    if attention and not hallucinate(model, Rules(heads, kept, map_settings)):
        if _has(model, HallucinatedHeads):
            raise ValueError(f"{kind} has hallucinated attention already; leave out attention")
        raise ValueError(
            f"{kind} has no attention that can be replaced; use a DeiT, PVTv2 or Next-ViT"
        )
    name = "fc2" if factored == "second" else "fc1"
    by_width = any(getattr(module, "weights_suit_width", False) for module in model.modules())
    if ffn and not compact_parts(model, name, ratio=ratio, branches=branches, by_width=by_width):
        if _has(model, CompactMap):
            raise ValueError(f"{kind} has compact parts already; leave out ffn")
        raise ValueError(
            f"{kind} has no feed-forward part with two maps, fc1 to more channels and fc2 back"
        )
    return model


def _check_idle(part: str, **settings: object) -> None:
    """Refuse settings of a part that is not converted."""
    usual = inspect.signature(convert).parameters
    for name, value in settings.items():
        if value != usual[name].default:
            raise ValueError(
                f"{name}={shown(value)} is a setting of {part}; ask for that, too, or leave it out"
            )


def _has(model: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a network has a module of a kind."""
    return any(isinstance(module, kind) for module in model.modules())


#: Name in timm -> the base model, and the rule for its heads that gives the published savings.
#: DeiT and PVTv2 get twice their heads, as the published numbers of maps and parameters imply.
HALLUCINATED_HOSTS: dict[str, tuple[str, HeadRule]] = {
    "hallucinated_deit_tiny_patch16_224": ("deit_tiny_patch16_224", "double"),
    "hallucinated_deit_small_patch16_224": ("deit_small_patch16_224", "double"),
    "hallucinated_pvt_v2_b1": ("pvt_v2_b1", "double"),
    "hallucinated_nextvit_small": ("nextvit_small", "double_odd"),
}

# Entries of the base model's configuration that hold for the converted network, too.
_INHERITED = (
    "num_classes",
    "input_size",
    "pool_size",
    "fixed_input_size",
    "crop_pct",
    "interpolation",
    "mean",
    "std",
    "first_conv",
    "classifier",
)
_SETTINGS = tuple(inspect.signature(convert).parameters)[1:-1]  # without model and inplace


def _cfg(base: str) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(base).to_dict()
    inherited = {key: config[key] for key in _INHERITED if key in config}
    return {**inherited, "paper_ids": "arXiv:2306.10875"}


def _create(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build the base model with timm's arguments and convert it with those of :func:`convert`.

    timm drops arguments that are None, so False keeps attention or feed-forward parts unconverted.
    """
    if pretrained:
        raise ValueError(f"{name} has no published weights; use pretrained=False")
    base, heads = HALLUCINATED_HOSTS[name]
    settings: dict[str, Any] = {"attention": "hallucinated", "ffn": "compact"}
    settings |= {key: kwargs.pop(key) for key in _SETTINGS if key in kwargs}
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
