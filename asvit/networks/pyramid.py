"""Networks as pyramids of feature maps, for detectors and segmenters to stand on."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from asvit.models import PSViT
from asvit.models.psvit_presets import checkpoint_filter_fn
from asvit.networks.levels import chosen_of, levels_of, multiply_windows, takes_any_size
from asvit.networks.network import Network
from asvit.networks.weights import load_state, read_state
from asvit.spaces import build
from asvit.spaces.base import Architecture
from asvit.spaces.timm_models import PREFIX

MULTIPLE = 32  # pixels; every split of an As-ViT divides its tokens then


class Pyramid(nn.Module):
    """The maps of a network at its strides, fine to coarse.

    A network has a map for every stride of 4 pixels and more: As-ViT, ShiftViT, Swin, ConvNeXt
    and so on four of strides 4, 8, 16 and 32; the grids of PSViT, and PiT, three of strides 8, 16
    and 32. None is made up. Where several layers have the same stride, the last one counts.

    Images of any size are padded with zeros, right and below, up to multiples of 32 px, and the
    maps are cut back, so that a map of stride s has ``ceil(H / s)`` rows. Networks that take one
    image size alone (MaxViT, PiT) have every image padded up to it; the patches of PiT's stem
    overlap without padding, so that its maps may lack a row.

    Args:
        model: The network, in timm's manner (``feature_info``, ``forward_intermediates``); it is
            taken over, and what no map needs is cut off.
        image_size: Side of the images that it was built for, in pixels.
        out_indices: Which of its maps to give, 0 the finest; None for all.
        norms: Put a layer norm over the channels on each map, as Swin's detectors do. The stages
            of a pre-norm network end without one.
        frozen_stages: What the first so many of the network's maps are made of gets no gradient
            and stays in evaluation mode.
        grad_checkpointing: Recompute blocks in the backward pass, to save memory.
        windows: For an As-ViT: each stage has so many times its windows per side. Their number is
            part of the architecture, so that they grow with the image, and attention with their
            square; weights know nothing of either. None keeps them about as large as at 224 px:
            ``image_size // 224`` times, and 1 for other networks. Images are padded up to
            multiples of 32 px times this.

    Attributes:
        channels: Of each map.
        strides: Of each map, pixels.
        out_channels: Of the last map. torchvision's detectors read it: they want maps of equal
            widths, which :class:`PyramidWithFpn` gives, or one map.

    Raises:
        ValueError: If the network has maps of one stride only or none, or has no such map; if a
            number is out of its range.

    References:
        Liu et al. 2021, "Swin Transformer", arXiv:2103.14030: norms on the maps.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        image_size: int = 224,
        out_indices: Sequence[int] | None = None,
        norms: bool = False,
        frozen_stages: int = 0,
        grad_checkpointing: bool = False,
        windows: int | None = 1,
    ) -> None:
        super().__init__()
        self._multiple = MULTIPLE * multiply_windows(model, windows, image_size)
        levels = levels_of(model)
        chosen = [levels[i] for i in chosen_of(out_indices, len(levels))]
        if not 0 <= frozen_stages <= len(levels):
            raise ValueError(f"frozen_stages={frozen_stages}; use 0 to {len(levels)}")
        self._fixed = None if takes_any_size(model) else image_size
        self._frozen: list[nn.Module] = []
        if frozen_stages:
            self._frozen = self._freeze(model, levels[frozen_stages - 1].place)
        self.body = cast("Any", model)
        self._places = self.body.prune_intermediate_layers(
            [level.place for level in chosen], prune_norm=True
        )
        if grad_checkpointing:
            _recompute(model)
        self.channels = tuple(level.channels for level in chosen)
        self.strides = tuple(level.stride for level in chosen)
        self.out_channels = self.channels[-1]
        self.norms = nn.ModuleList(
            LayerNorm2d(width, eps=1e-5) if norms else nn.Identity() for width in self.channels
        )
        self.train(self.training)

    def forward(self, image: Tensor) -> OrderedDict[str, Tensor]:
        """``[B, 3, H, W]`` -> ``{"0": [B, C0, H/s0, W/s0], "1": ...}``, sides rounded up.

        Raises:
            ValueError: If the network takes one image size alone, and this one is larger.
        """
        height, width = image.shape[-2:]
        maps = self.body.forward_intermediates(
            self._padded(image), indices=self._places, intermediates_only=True
        )
        return OrderedDict(
            (str(i), norm(level[..., : -(-height // stride), : -(-width // stride)]))
            for i, (level, stride, norm) in enumerate(
                zip(maps, self.strides, self.norms, strict=True)
            )
        )

    def train(self, mode: bool = True) -> Pyramid:
        """As ever, but that frozen stages stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def _padded(self, image: Tensor) -> Tensor:
        """Zeros to the right and below, up to a size that the network takes."""
        height, width = image.shape[-2:]
        if self._fixed is None:
            right, below = -width % self._multiple, -height % self._multiple
        else:
            right, below = self._fixed - width, self._fixed - height
            if min(right, below) < 0:
                raise ValueError(
                    f"an image of {height} x {width} px does not fit a network for "
                    f"{self._fixed} px alone; build it with image_size={max(height, width)}"
                )
        return F.pad(image, (0, right, 0, below)) if right or below else image

    def _freeze(self, model: nn.Module, place: int) -> list[nn.Module]:
        """Freeze all that the map at ``place`` depends on; the modules with nothing else in them.

        What it depends on is asked of autograd, since every network has other names for it.
        """
        side = self._fixed or 2 * self._multiple
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        image = torch.zeros(1, 3, side, side).to(trained[0])
        was_training = model.training
        with torch.enable_grad():
            maps = cast("Any", model.eval()).forward_intermediates(
                image, indices=[place], stop_early=True, intermediates_only=True
            )
            slopes = torch.autograd.grad(maps[0].sum(), trained, allow_unused=True)
        model.train(was_training)
        for parameter, slope in zip(trained, slopes, strict=True):
            parameter.requires_grad_(slope is None)
        return [
            module
            for module in model.modules()
            if (own := list(module.parameters())) and not any(p.requires_grad for p in own)
        ]


class PyramidWithFpn(nn.Module):
    """A pyramid under torchvision's feature pyramid network: what its detectors take.

    torchvision's own ``BackboneWithFPN`` runs the children of a network one after the other, which
    suits ResNets alone.

    Args:
        pyramid: The pyramid.
        out_channels: Channels of every map then.

    Attributes:
        channels, strides: Of each map; one more, pooled from the last, ends them.
        out_channels: Of every map.

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
        """``[B, 3, H, W]`` -> ``{"0": [B, out_channels, H/s0, W/s0], ..., "pool": ...}``."""
        return cast("OrderedDict[str, Tensor]", self.fpn(self.body(image)))


def backbone(
    arch: str | Architecture | Network | nn.Module,
    image_size: int = 224,
    *,
    weights: str | Path | None = None,
    out_indices: Sequence[int] | None = None,
    norms: bool = False,
    frozen_stages: int = 0,
    drop_path: float | None = None,
    grad_checkpointing: bool = False,
    windows: int | None = 1,
    fpn: int | None = None,
) -> Pyramid | PyramidWithFpn:
    """A network as a pyramid of feature maps.

    Args:
        arch: What :func:`asvit.build` takes; a :class:`Network`, which may have converted parts;
            or a network itself, which is taken over.
        image_size: Side of the images in pixels. Others work too, as :class:`Pyramid` says; with
            positions that are learned (PSViT) this is the size they are learned for.
        weights: File to start from, of any kind that :func:`read_state` reads; it must have every
            weight of the pyramid. Those of a final norm and head are left out.
        out_indices: Which maps to give, 0 the finest; None for all.
        norms: Put a layer norm on each map.
        frozen_stages: How many stages are not trained.
        drop_path: Drop-path probability of the last block; None for the network's own.
        grad_checkpointing: Recompute blocks in the backward pass, to save memory.
        windows: How many times its windows per side an As-ViT has; None to keep them about as
            large as at 224 px. At 1024 px As-ViT-L takes 2,795 G multiply-adds with 1, and 503 G
            with 4, which None stands for.
        fpn: Channels of torchvision's feature pyramid network on top (256 is usual); None for
            none. ``torchvision.models.detection.MaskRCNN(backbone(arch, fpn=256), 91)`` works.

    Returns:
        ``[B, 3, H, W] -> OrderedDict`` of the maps ``"0"``, ``"1"``, ... fine to coarse, with
        ``channels``, ``strides`` and ``out_channels``.

    Raises:
        ValueError: If the architecture is wrong or has no pyramid, a value is out of its range, or
            the weights are not those of the network.
        FileNotFoundError: If there is no file of weights.
    """
    model = _build(arch, image_size, drop_path)
    if isinstance(arch, Network):
        image_size = arch.image_size
    names = set(model.state_dict())
    pyramid = Pyramid(
        model,
        image_size=image_size,
        out_indices=out_indices,
        norms=norms,
        frozen_stages=frozen_stages,
        grad_checkpointing=grad_checkpointing,
        windows=windows,
    )
    if weights is not None:
        cut_off = names - set(model.state_dict())
        _load(model, read_state(Path(weights)), cut_off, what=f"the weights in {str(weights)!r}")
    return pyramid if fpn is None else PyramidWithFpn(pyramid, fpn)


def _build(
    arch: str | Architecture | Network | nn.Module, image_size: int, drop_path: float | None
) -> nn.Module:
    if isinstance(arch, nn.Module):
        if drop_path is not None:
            raise ValueError("drop_path is set when a network is built; leave it out")
        return arch
    if isinstance(arch, Network):
        return arch.build(drop_path=drop_path)
    model = build(arch, image_size, drop_path=drop_path)
    if not isinstance(arch, str) or not arch.startswith(PREFIX):
        return model
    if "strict_img_size" not in inspect.signature(type(model)).parameters:
        return model
    # Swin refuses all sizes but one, unless it is told not to when it is built.
    resizable: nn.Module = timm.create_model(
        arch.removeprefix(PREFIX),
        img_size=image_size,
        strict_img_size=False,
        drop_path_rate=drop_path,
    )
    return resizable


def _load(model: nn.Module, state: Mapping[str, Tensor], cut_off: set[str], *, what: str) -> None:
    """Load all but what was cut off, learned positions resampled."""
    kept = {name: tensor for name, tensor in state.items() if name not in cut_off}
    if isinstance(model, PSViT):
        kept = checkpoint_filter_fn(kept, model)
    load_state(model, kept, what=what)


def _recompute(model: nn.Module) -> None:
    """Have the network recompute its blocks in the backward pass."""
    try:
        cast("Any", model).set_grad_checkpointing(True)
    except (AssertionError, AttributeError) as error:
        raise ValueError(
            f"{type(model).__name__} cannot recompute its blocks; leave out grad_checkpointing"
        ) from error
