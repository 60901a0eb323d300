"""Networks as feature pyramids: backbones for detectors and segmenters."""

import inspect
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from timm.layers import LayerNorm2d
from timm.models import FeatureInfo
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from asvit.models import AsViT, PSViT, ShiftViT
from asvit.models.asvit import Stage
from asvit.models.blocks import recompute_blocks
from asvit.models.psvit import checkpoint_filter_fn
from asvit.networks.network import Network
from asvit.networks.weights import load_state, read_state, resampled
from asvit.spaces import build
from asvit.spaces.base import Architecture
from asvit.spaces.timm_models import PREFIX, TimmModel

_FINEST = 4  # pixels; smallest stride of a map that detectors and segmenters use
_CLASSIFIED = 224  # pixels; usual image size of classifiers
_MULTIPLE = 32  # pixels; all splits of an As-ViT divide the tokens of such images


class Pyramid(nn.Module):
    """The feature maps of a network at its strides, fine to coarse.

    There is a map for every stride of at least 4 pixels: four, of strides 4, 8, 16 and 32, for
    As-ViT, ShiftViT, Swin, ConvNeXt and similar networks; three, of strides 8, 16 and 32, for PiT
    and PSViT on grids. No strides are added. If several layers have the same stride, the last one
    is used.

    Images of any size are padded with zeros at the right and bottom to multiples of 32 px. The
    maps are cropped accordingly, so that a map of stride s has ``ceil(H / s)`` rows. For networks
    with a fixed image size (MaxViT, PiT), images are padded to that size, and larger ones refused.
    The stem of PiT has overlapping patches without padding, so its maps may lack a row.

    The network needs timm's interface (``feature_info``, ``forward_intermediates``). It is
    modified: layers that no map needs are removed. Arguments and errors as in :func:`backbone`.

    Attributes:
        channels: Channels of each map.
        strides: Stride of each map in pixels.
        out_channels: Channels of the last map, for torchvision's detectors. These need maps of
            equal widths, as from :class:`PyramidWithFpn`.
        fixed_size: Side in pixels of the only images that the network takes; None for any size.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        image_size: int = _CLASSIFIED,
        norms: bool = False,
        grad_checkpointing: bool = False,
        windows: int | None = 1,
    ) -> None:
        super().__init__()
        levels = _levels(model)
        self._multiple = _MULTIPLE * _multiply_windows(model, windows, image_size)
        self.fixed_size = None if _takes_any_size(model) else image_size
        self.body = cast("Any", model)
        self._indices = self.body.prune_intermediate_layers(
            [position for position, _ in levels.values()], prune_norm=True
        )
        if grad_checkpointing:
            recompute_blocks(model)
        self.strides = tuple(levels)
        self.channels = tuple(channels for _, channels in levels.values())
        self.out_channels = self.channels[-1]
        self.norms = nn.ModuleList(
            LayerNorm2d(width, eps=1e-5) if norms else nn.Identity() for width in self.channels
        )

    def forward(self, image: Tensor) -> OrderedDict[str, Tensor]:
        """``[B, C, H, W]`` -> ``{"0": [B, C0, H/s0, W/s0], "1": ...}``, sides rounded up."""
        height, width = image.shape[-2:]
        maps = self.body.forward_intermediates(
            self._padded(image), indices=self._indices, intermediates_only=True
        )
        return OrderedDict(
            (str(i), norm(level[..., : -(-height // stride), : -(-width // stride)]))
            for i, (level, stride, norm) in enumerate(
                zip(maps, self.strides, self.norms, strict=True)
            )
        )

    def _padded(self, image: Tensor) -> Tensor:
        """The image padded with zeros at the right and bottom to a size that the network takes."""
        height, width = image.shape[-2:]
        if self.fixed_size is None:
            right, below = -width % self._multiple, -height % self._multiple
        else:
            right, below = self.fixed_size - width, self.fixed_size - height
            if min(right, below) < 0:
                raise ValueError(
                    f"an image of {height} x {width} px does not fit a network for "
                    f"{self.fixed_size} px alone; build it with image_size={max(height, width)}"
                )
        return F.pad(image, (0, right, 0, below)) if right or below else image


class PyramidWithFpn(nn.Module):
    """A pyramid with torchvision's feature pyramid network on top, for its detectors.

    torchvision's ``BackboneWithFPN`` runs the children of a network in sequence, which works only
    for networks like ResNets. It has the attributes of a :class:`Pyramid`, for the maps of
    ``out_channels`` each and an extra one that is pooled from the last.

    References:
        Lin et al. 2017, "Feature Pyramid Networks for Object Detection", arXiv:1612.03144.
    """

    def __init__(self, pyramid: Pyramid, out_channels: int = 256) -> None:
        super().__init__()
        if out_channels < 1:
            raise ValueError(f"fpn={out_channels}; use the channels of its maps, such as 256")
        self.body = pyramid
        self.fpn = FeaturePyramidNetwork(
            list(pyramid.channels), out_channels, extra_blocks=LastLevelMaxPool()
        )
        self.out_channels = out_channels
        self.strides = (*pyramid.strides, 2 * pyramid.strides[-1])
        self.channels = (out_channels,) * len(self.strides)

    def forward(self, image: Tensor) -> OrderedDict[str, Tensor]:
        """``[B, C, H, W]`` -> ``{"0": [B, out_channels, H/s0, W/s0], ..., "pool": ...}``."""
        return cast("OrderedDict[str, Tensor]", self.fpn(self.body(image)))


def backbone(
    arch: str | Architecture | Network | nn.Module,
    image_size: int | None = None,
    *,
    weights: str | Path | None = None,
    norms: bool = False,
    drop_path: float | None = None,
    grad_checkpointing: bool = False,
    windows: int | None = 1,
    fpn: int | None = None,
) -> Pyramid | PyramidWithFpn:
    """A network as a feature pyramid.

    Args:
        arch: What :func:`asvit.build` takes; a :class:`Network`, which may have converted parts;
            or a module, which is modified.
        image_size: Side of the images in pixels, by default that of a :class:`Network`, or 224.
            :class:`Pyramid` describes how other sizes work; learned positions (PSViT) are for this
            size.
        weights: File of initial weights that :func:`read_state` can read. It must have every
            weight of the pyramid; those of a final norm and head are ignored. Learned positions of
            another image size are resampled.
        norms: Apply a layer norm over the channels to each map, as Swin's detectors do
            (arXiv:2103.14030). The stages of a pre-norm network end without one.
        drop_path: Drop-path probability of the last block; None for the network's default.
        grad_checkpointing: Recompute blocks in the backward pass, to save memory.
        windows: For an As-ViT, a factor on the windows per side of each stage. Their number is
            part of the architecture, so windows grow with the image, and the cost of attention
            with their square; weights do not depend on it. None keeps windows about as large as
            at 224 px: a factor of ``image_size // 224``, and 1 for other networks. At 1024 px
            As-ViT-L takes 2,795 G multiply-adds with 1, and 503 G with 4, which None selects.
            Images are padded to multiples of 32 px times the factor.
        fpn: Channels of torchvision's feature pyramid network on top (usually 256); None for none.
            ``torchvision.models.detection.MaskRCNN(backbone(arch, fpn=256), 91)`` works.

    Returns:
        A module ``[B, 3, H, W] -> OrderedDict`` of the maps ``"0"``, ``"1"``, ... from fine to
        coarse, with ``channels``, ``strides`` and ``out_channels``.

    Raises:
        ValueError: If the architecture is wrong or has no pyramid, a value is out of range, or
            the weights do not fit the network.
        FileNotFoundError: If the file of weights does not exist.

    Example:
        >>> pyramid = asvit.backbone("8,2,3|4,1,2|4,1,4|4,1,6|32", image_size=64)
        >>> levels = pyramid(torch.randn(1, 3, 64, 64))
        >>> [tuple(level.shape[1:]) for level in levels.values()]
        [(32, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2)]
    """
    if isinstance(arch, Network):
        arch = replace(arch, image_size=image_size or arch.image_size)
        image_size = arch.image_size
    image_size = image_size or _CLASSIFIED
    model = _build(arch, image_size, drop_path)
    names = set(model.state_dict())
    pyramid = Pyramid(
        model,
        image_size=image_size,
        norms=norms,
        grad_checkpointing=grad_checkpointing,
        windows=windows,
    )
    if weights is not None:
        removed = names - set(model.state_dict())
        state = {n: t for n, t in read_state(Path(weights)).items() if n not in removed}
        if isinstance(model, PSViT):
            state = checkpoint_filter_fn(state, model)  # also to a grid that is not square
        state = resampled(model, state)
        load_state(model, state, what=f"the weights in {str(weights)!r}")
    return pyramid if fpn is None else PyramidWithFpn(pyramid, fpn)


def _build(
    arch: str | Architecture | Network | nn.Module, image_size: int, drop_path: float | None
) -> nn.Module:
    if isinstance(arch, nn.Module):
        if drop_path is not None:
            raise ValueError("drop_path is set when a network is built; leave it out")
        return arch
    text: Any = arch
    options: dict[str, Any] = {"drop_path": drop_path}
    if isinstance(arch, Network):
        text = arch.architecture
        options |= {"num_classes": arch.num_classes, "in_chans": arch.in_chans}
    model = build(text, image_size, **options)
    strict = "strict_img_size" in inspect.signature(type(model)).parameters
    if strict and str(text).startswith(PREFIX):  # as Swin's, which else take a single size
        named = TimmModel.parse(str(text))
        arguments = {"strict_img_size": False, **named.arguments}
        resizable = TimmModel(named.name, tuple(sorted(arguments.items())))
        model = build(resizable, image_size, **options)
    return arch.converted(model) if isinstance(arch, Network) else model


def _levels(model: nn.Module) -> dict[int, tuple[int, int]]:
    """The last map of every stride of at least 4 px: its position among all, and channels."""
    info: Any = getattr(model, "feature_info", None)
    methods = ("forward_intermediates", "prune_intermediate_layers")
    if info is None or not all(hasattr(model, name) for name in methods):
        raise ValueError(f"{type(model).__name__} gives no feature maps; use a network that does")
    entries = info.get_dicts() if isinstance(info, FeatureInfo) else info
    last = {one["reduction"]: (place, one["num_chs"]) for place, one in enumerate(entries)}
    levels = {stride: last[stride] for stride in sorted(last) if stride >= _FINEST}
    if len(levels) < 2:
        strides = ", ".join(map(str, sorted(last)))
        raise ValueError(
            f"{type(model).__name__} has maps of stride {strides} px only; a pyramid needs two; "
            "use an As-ViT, a ShiftViT, a 'psvit2d:' path of several stages, or a timm model such "
            "as a Swin"
        )
    return levels


def _takes_any_size(model: nn.Module) -> bool:
    """Whether it takes any multiple of 32 px; False where that is not recorded, as of PiT."""
    if isinstance(model, AsViT | ShiftViT | PSViT) or getattr(model, "dynamic_img_size", False):
        return True
    config = getattr(model, "pretrained_cfg", None)
    return config is not None and not config["fixed_input_size"]


def _multiply_windows(model: nn.Module, windows: int | None, image_size: int) -> int:
    """Multiply the windows per side in every stage of an As-ViT, in place; returns the factor."""
    if windows is None:
        windows = max(image_size // _CLASSIFIED, 1) if isinstance(model, AsViT) else 1
    if windows < 1 or (windows > 1 and not isinstance(model, AsViT)):
        raise ValueError(
            f"windows={windows} for a {type(model).__name__}; use 1, or more for an As-ViT"
        )
    if windows > 1:
        for stage in cast("AsViT", model).layers:
            cast("Stage", stage).splits *= windows
    return windows
