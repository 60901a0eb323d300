"""What our networks share: their base with timm's methods, stems, attention, stages, weights."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Final, TypeGuard, cast

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import Conv2dSame, resample_abs_pos_embed, trunc_normal_
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

PATCH: Final = 4  # pixels from one token of a stem to the next
_POINT: Final = ((1, 1), 1)  # kernel and groups of a convolution that is a linear map


class StagedNetwork(nn.Module):
    """Base of the networks, with the methods that timm expects of a model.

    A subclass builds its stem and stages, then calls :meth:`_add_head`. A stage has a module
    ``downsample``, which leads to the next stage, or into the stage if ``_downsample_first``.
    """

    #: Attribute that holds the stages.
    _stages_name: ClassVar[str] = "layers"
    _downsample_first: ClassVar[bool] = False

    num_classes: int
    norm: nn.Module
    head: nn.Module
    global_pool: str

    def __init__(self, widths: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.stage_widths = tuple(widths)
        #: Channels of the features.
        self.num_features = self.head_hidden_size = self.stage_widths[-1]
        #: Channels and stride of the feature map of each stage that has one.
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": width, "reduction": stride, "module": f"{self._stages_name}.{i}"}
            for i, (width, stride) in enumerate(zip(widths, strides, strict=False))
        ]

    def forward(self, image: Tensor) -> Tensor:
        """``[B, in_chans, H, W] -> [B, num_classes]``."""
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: Tensor) -> Tensor:
        """The features after the final norm.

        ``[B, in_chans, H, W] -> [B, prefix + N, num_features]``, the tokens of a grid in row
        order; in ShiftViT ``[B, num_features, H/32, W/32]``. A ValueError names sizes that fit.
        """
        x = self._embed(image)
        for stage in self._stages:
            x = self._downsample(stage, stage(x))
        return cast("Tensor", self.norm(self._as_features(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Features to ``[B, num_classes]``, or with ``pre_logits`` to ``[B, num_features]``.

        Without pooling, the tokens or positions remain.
        """
        x = self._pool(x)
        return x if pre_logits else self._classify(self.head_drop(x))

    def forward_intermediates(
        self,
        image: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The feature maps of the stages, for timm's feature extraction.

        ``indices`` are stages from 0, or the number of last ones; with ``norm`` the map of the
        last stage is after the final norm. The maps, ``[B, width_i, H / stride_i, W / stride_i]``
        (sides rounded down in ShiftViT, else up), come alone or after the features of the last
        stage that was run.
        """
        check_choice("output_fmt", output_fmt, ("NCHW",))
        requested, highest = feature_take_indices(self._map_count(), indices)
        last = len(self._stages) - 1
        maps = []
        x = self._embed(image)
        for i, stage in enumerate(self._stages):
            x = stage(x)
            if i in requested:
                maps.append(self._as_map(self.norm(x) if norm and i == last else x, image))
            if stop_early and i == highest:
                break
            x = self._downsample(stage, x)
        if intermediates_only:
            return maps
        x = self._as_features(x)
        return self.norm(x) if i == last else x, maps

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what :meth:`forward_intermediates` does not need; returns stages from 0."""
        requested, highest = feature_take_indices(self._map_count(), indices)
        end = highest + 1
        shortened = end < len(self._stages)
        setattr(self, self._stages_name, self._stages[:end])
        if not self._downsample_first:
            self._stages[-1].downsample = nn.Identity()
        if shortened:
            self.num_features = self.head_hidden_size = self.stage_widths[end - 1]
        if prune_norm or shortened:
            self.norm = nn.Identity()
        if prune_head or shortened:
            self.reset_classifier(0, "")
        return list(requested)

    def get_classifier(self) -> nn.Module:
        """The linear map to classes, or the identity without classes."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head by a newly initialised one; 0 classes remove it."""
        if global_pool is not None:
            self._set_pool(global_pool)
        like = next(self.parameters())
        head = self._make_head(num_classes).apply(self._init_weights)
        self.head = head.to(device=like.device, dtype=like.dtype)
        self.num_classes = num_classes

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay, besides those of timm's own rule."""
        return set()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass, which saves memory and costs time."""
        for stage in self._stages:
            stage.grad_checkpointing = enable

    @property
    def _stages(self) -> Any:
        return getattr(self, self._stages_name)

    def _downsample(self, stage: Any, x: Tensor) -> Tensor:
        """The input of the next stage from the output of this one."""
        return x if self._downsample_first else cast("Tensor", stage.downsample(x))

    def _map_count(self) -> int:
        return min(len(self.feature_info), len(self._stages))

    def _embed(self, image: Tensor) -> Tensor:
        """The input of the first stage; a ValueError if the image does not fit the network."""
        raise NotImplementedError

    def _as_map(self, x: Tensor, image: Tensor) -> Tensor:
        """The output of a stage as ``[B, width, h, w]``."""
        return x

    def _pool(self, x: Tensor) -> Tensor:
        """Features to the input of the head, as ``global_pool`` says."""
        raise NotImplementedError

    def _classify(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.head(x))

    def _add_head(self, norm: nn.Module, classes: int, global_pool: str, drop: float) -> None:
        """Add what follows the stages, and initialise the network."""
        self.norm = norm
        self.num_classes = classes
        self._set_pool(global_pool)
        self.head_drop = nn.Dropout(drop)
        self.head = self._make_head(classes)
        self.apply(self._init_weights)

    def _as_features(self, x: Tensor) -> Tensor:
        """The output of a stage in the shape of :meth:`forward_features`."""
        return x

    def _make_head(self, num_classes: int) -> nn.Module:
        """A head that :meth:`_init_weights` has not initialised yet."""
        return make_head(self.num_features, num_classes)

    def _init_weights(self, module: nn.Module) -> None:
        init_weights(module)

    def _pools(self) -> tuple[str, ...]:
        return ("avg", "")

    def _set_pool(self, name: str) -> None:
        check_choice("global_pool", name, self._pools())
        self.global_pool = name


def make_head(width: int, num_classes: int) -> nn.Module:
    """A linear head on features of ``width``; for no classes, the features themselves."""
    return nn.Linear(width, num_classes) if num_classes else nn.Identity()


def check_batch(image: Tensor) -> None:
    """Check that a tensor is a batch of images."""
    if image.ndim != 4:
        raise ValueError(
            f"the images have shape {tuple(image.shape)}; use [batch, channels, height, width]"
        )


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Drop-path probability of each block in each stage, on a linear ramp from 0 to ``rate``."""
    ramp = torch.linspace(0, rate, sum(depths), device="cpu")
    return [part.tolist() for part in ramp.split(list(depths))]


def make_stem(stem: str, channels: int, dim: int, kernel: int = PATCH) -> nn.Module:
    """What makes tokens of an image: ``[B, channels, H, W] -> [B, dim, H/4, W/4]``.

    A stem of patches may have a kernel above its stride of 4, so that patches overlap. ``"conv"``
    has two 3 x 3 convolutions of stride 2 (arXiv:2106.14881), ``"deep"`` three at half the sides
    of the image, a max pooling and a linear map (arXiv:1812.01187). These round sides up.
    """
    if stem == "conv":
        hidden = stem_width(dim)
        return nn.Sequential(
            nn.Conv2d(channels, hidden, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.GELU(),
            nn.Conv2d(hidden, dim, 3, stride=2, padding=1),
        )
    if stem == "deep":
        widths = (channels, *deep_stem_widths(dim))
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(widths), (2, 1, 1), strict=True):
            layers.append(nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False))
            layers += [nn.BatchNorm2d(after), nn.SiLU()]
        layers += [nn.MaxPool2d(3, stride=2, padding=1), nn.Conv2d(widths[-1], dim, 1)]
        return nn.Sequential(*layers)
    # timm's pads by a copy of the image, also by nothing.
    kind = Conv2dSame if kernel > PATCH else nn.Conv2d
    convolution: nn.Module = kind(channels, dim, kernel, stride=PATCH)
    return convolution


def deep_stem_widths(dim: int) -> tuple[int, int, int]:
    """Channels after each of the three convolutions of a deep stem."""
    return (max(3 * dim // 4, 1), dim, 2 * dim)


def stem_width(dim: int) -> int:
    """Channels between the two convolutions of a stem."""
    return max(dim // 2, 1)


def positions_on(
    grid: tuple[int, int], learned: Tensor, learned_grid: tuple[int, int], prefix: int = 0
) -> Tensor:
    """Position embeddings of a grid of tokens, ``[1, prefix + h * w, dim]`` for h rows of w."""
    if grid == learned_grid:
        return learned
    resampled: Tensor = resample_abs_pos_embed(
        learned, list(grid), list(learned_grid), num_prefix_tokens=prefix
    )
    return resampled


class SelfAttention(nn.Module):
    """Multi-head self-attention among all tokens of a list; heads have width ``dim // heads``."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = dim // heads
        inner = self.head_dim * heads
        self.qkv = nn.Linear(dim, 3 * inner)
        self.proj = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., N, dim] -> [..., N, dim]``; the whole map is never in memory."""
        q, k, v = self._queries_keys_values(x)
        return self._project(F.scaled_dot_product_attention(q, k, v), x)

    def with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[..., N, dim] -> [..., N, dim]`` and the map ``[lists, heads, N, N]``."""
        q, k, v = self._queries_keys_values(x)
        attention = (q * self.head_dim**-0.5 @ k.transpose(2, 3)).softmax(dim=-1)
        return self._project(attention @ v, x), attention

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[..., N, dim]`` to three times ``[lists, heads, N, head_dim]``."""
        qkv = self.qkv(x).view(-1, x.shape[-2], 3, self.heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        return q, k, v

    def _project(self, mixed: Tensor, x: Tensor) -> Tensor:
        """``[lists, heads, N, head_dim]`` to the shape of ``x``."""
        return cast("Tensor", self.proj(mixed.transpose(1, 2).reshape(*x.shape[:-1], -1)))


class BlockStage(nn.Module):
    """Blocks at one width; the network applies ``downsample``, which leads to the next stage."""

    def __init__(self, blocks: Iterable[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks, which keep the shape."""
        return self.run(x)

    def run(self, x: Tensor, **options: Any) -> Tensor:
        """The same, with ``options`` for each block; in training they may be recomputed."""
        return run_blocks(self.blocks, x, self.grad_checkpointing and self.training, **options)


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, recompute: bool, **options: Any) -> Tensor:
    """Apply ``blocks`` in turn, or ``recompute`` each in the backward pass, to save memory."""
    for block in blocks:
        if recompute:
            x = checkpoint(block, x, use_reentrant=False, **options)
        else:
            x = block(x, **options)
    return x


def recompute_blocks(model: nn.Module) -> None:
    """Have a network, ours or timm's, recompute its blocks in the backward pass."""
    try:
        cast("Any", model).set_grad_checkpointing(True)
    except (AssertionError, AttributeError) as error:
        kind = type(model).__name__
        raise ValueError(
            f"{kind} cannot recompute its blocks; leave out grad_checkpointing"
        ) from error


def init_weights(module: nn.Module, kinds: tuple[type[nn.Module], ...] = (nn.Linear,)) -> None:
    """Initialise a map as DeiT does: truncated normal weights of std 0.02, and zero biases."""
    if isinstance(module, kinds):
        linear = cast("nn.Linear", module)
        trunc_normal_(linear.weight, std=0.02)  # timm's, as torch's draws changed since 2.9
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)


def is_linear(module: object) -> TypeGuard[nn.Linear | nn.Conv2d]:
    """Whether a module maps each token by the same matrix: a linear map or 1 x 1 convolution."""
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and (module.kernel_size, module.groups) == _POINT
    )


def init_by_width(module: nn.Module) -> None:
    """Initialise a linear map with a spread that falls with its widths, and zero biases."""
    if is_linear(module):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def hidden_width(dim: int, ratio: float) -> int:
    """``ratio * dim``, rounded down in decimals: 2.3 * 100 is below 230 in binary."""
    return int(round(ratio * dim, 6))


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Refuse an argument that is not one of ``choices``, and list them."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")


class MixedConv2d(nn.Conv2d):
    """A convolution that stays in float32 within autocast where bfloat16 is slow or wrong.

    The gradient of grouped ones takes up to six times as long in bfloat16. Where a map is hardly
    larger than the kernel, or the convolution dilated, oneDNN may leave parts of the gradient of
    the weights unset (torch 2.14 on an AMD EPYC).
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W] -> [B, C', H', W']``."""
        if not torch.is_autocast_enabled("cpu") or self._suits_bfloat16(x):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())

    def _suits_bfloat16(self, x: Tensor) -> bool:
        sizes = zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        large = all(side >= kernel + step for side, kernel, step in sizes)
        return large and self.groups == 1 and self.dilation == (1, 1)


class MixedConv2dSame(MixedConv2d, Conv2dSame):  # type: ignore[misc]
    """The same for one that pads as TensorFlow's SAME does."""


def register_variants(
    module: str,
    create: Callable[..., nn.Module],
    cfgs: Mapping[str, dict[str, Any]],
) -> None:
    """Register with timm a function ``name(pretrained=False, **kwargs)`` for each name."""
    sys.modules[module].default_cfgs = generate_default_cfgs(cfgs)  # type: ignore[attr-defined]
    for name in cfgs:
        function: Any = partial(create, name)
        function.__name__ = function.__qualname__ = name
        function.__module__ = module
        function.__doc__ = f"timm's ``{name}``; arguments of the caller replace its settings."
        setattr(sys.modules[module], name, function)
        register_model(function)


def register_networks(
    module: str,
    network: type[nn.Module],
    settings: Mapping[str, Mapping[str, Any]],
    *,
    levels: Callable[[Mapping[str, Any]], int] = lambda own: 4,
    filter_fn: Callable[..., Mapping[str, Any]] | None = None,
    **cfg: Any,
) -> None:
    """Register settings of a network for ImageNet at 224 px, as :func:`register_variants`."""

    def create(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
        own = settings[name]
        features = {"out_indices": tuple(range(levels(own))), "feature_cls": "getter"}
        model: nn.Module = build_model_with_cfg(
            network,
            name,
            pretrained,
            pretrained_filter_fn=filter_fn,
            feature_cfg=features,
            **{**own, **kwargs},
        )
        return model

    common = {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        **cfg,
    }
    register_variants(module, create, dict.fromkeys(settings, common))
