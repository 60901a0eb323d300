"""The base of AsViT, ShiftViT and PSViT: stem, stages, norm and head, with timm's methods."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from asvit.models.blocks import check_choice, init_weights


class StagedNetwork(nn.Module):
    """Base of the networks, with the methods that timm expects of a model.

    A subclass builds its stem and stages, then calls :meth:`_add_head`. A stage has a module
    ``downsample``, which leads to the next stage, or into the stage if ``_downsample_first``.
    ``strides`` are the pixels per position in the feature maps of stages that have one.
    """

    #: Attributes that hold the stages, and the blocks of a stage.
    _stages_name: ClassVar[str] = "layers"
    _blocks_name: ClassVar[str] = "blocks"
    _downsample_first: ClassVar[bool] = False
    #: Kinds of modules that :meth:`_init_weights` initialises.
    _initialised: ClassVar[tuple[type[nn.Module], ...]] = (nn.Linear,)

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
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The feature maps of the stages, for timm's feature extraction.

        Args:
            image: ``[B, in_chans, H, W]``.
            indices: Stages from 0, or the number of last stages; None for all that have a map.
            norm: Apply the final norm to the map of the last stage.
            stop_early: Skip the stages after the last one requested.
            output_fmt: ``"NCHW"``.
            intermediates_only: Return the maps alone.

        Returns:
            The maps, ``[B, width_i, H / stride_i, W / stride_i]`` of stage i (sides rounded down
            in ShiftViT, else up), alone or after the features of the last stage that was run.

        Raises:
            ValueError: If a stage or the format does not exist, or H or W does not fit.
        """
        check_choice("output_fmt", output_fmt, ("NCHW",))
        requested = stage_indices(indices, self._map_count())
        last = len(self._stages) - 1
        maps = []
        x = self._embed(image)
        for i, stage in enumerate(self._stages):
            x = stage(x)
            if i in requested:
                maps.append(self._as_map(self.norm(x) if norm and i == last else x, image))
            if stop_early and i == max(requested):
                break
            x = self._downsample(stage, x)
        if intermediates_only:
            return maps
        x = self._as_features(x)
        return self.norm(x) if i == last else x, maps

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what :meth:`forward_intermediates` does not need; returns stages from 0."""
        requested = stage_indices(indices, self._map_count())
        end = max(requested) + 1
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
        return requested

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

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns by which timm groups parameters into layers, from the stem on."""
        stages = rf"^{self._stages_name}\.(\d+)"
        # timm sorts by these numbers: before all blocks of the stage, or after them.
        place = -1 if self._downsample_first else 99998
        fine = [
            (rf"{stages}\.downsample", (place,)),
            (rf"{stages}\.{self._blocks_name}\.(\d+)", None),
            (r"^norm", (99999,)),
        ]
        return {
            "stem": r"^(?:patch_embed|absolute_pos_embed)",
            "blocks": stages if coarse else fine,
        }

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass, which saves memory and costs time."""
        for stage in self._stages:
            stage.grad_checkpointing = enable

    @property
    def _stages(self) -> Any:
        """The stages, a ModuleList."""
        return getattr(self, self._stages_name)

    def _downsample(self, stage: Any, x: Tensor) -> Tensor:
        """The input of the next stage from the output of this one."""
        return x if self._downsample_first else cast("Tensor", stage.downsample(x))

    def _map_count(self) -> int:
        """Number of stages with a feature map."""
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
        """The pooled or other features to classes."""
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
        init_weights(module, self._initialised)

    def _pools(self) -> tuple[str, ...]:
        """Values of ``global_pool``."""
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


def stage_indices(indices: int | Sequence[int] | None, stages: int) -> list[int]:
    """Stage indices from 0, of indices from 0 or, if negative, from the end.

    timm also passes the number of last stages, or None for all.
    """
    if indices is None or isinstance(indices, int):
        indices = range(-(indices or stages), 0)
    resolved = [i + stages if i < 0 else i for i in indices]
    if not resolved or not all(0 <= i < stages for i in resolved):
        raise ValueError(f"stages {list(indices)} do not all exist; use 0 to {stages - 1}")
    return resolved


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Drop-path probability of each block in each stage, on a linear ramp from 0 to ``rate``."""
    ramp = torch.linspace(0, rate, sum(depths), device="cpu")
    return [part.tolist() for part in ramp.split(list(depths))]
