"""What As-ViT and ShiftViT share: stages in a row, as timm asks about them."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from asvit.models._features import taken_stages


class StagedNetwork(nn.Module):
    """Base of networks of a stem, stages that hold their ``downsample``, a norm and a head.

    Attributes:
        layers: The stages.
        stage_widths: Channels of each.
        norm: What follows the last one.
    """

    layers: nn.ModuleList
    stage_widths: tuple[int, ...]
    norm: nn.Module

    def forward_intermediates(
        self,
        image: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The feature maps of the stages, as timm's feature extraction asks for them.

        Args:
            image: ``[B, in_chans, H, W]``.
            indices: Stages from 0, or how many of the last ones; None for all.
            norm: Apply the final norm to the map of the last stage.
            stop_early: Leave out the stages after the last one asked for.
            output_fmt: ``"NCHW"``; As-ViT also takes ``"NHWC"``.
            intermediates_only: Return the maps alone.

        Returns:
            The maps, ``[B, width * 2**i, H / 2**(i+2), W / 2**(i+2)]`` for stage i (sides rounded
            up in As-ViT, down in ShiftViT), by themselves or after what
            :meth:`forward_features` gives of the last stage that was run.

        Raises:
            ValueError: If a stage or the format does not exist, or H or W does not suit.
        """
        self._check_format(output_fmt)
        taken = taken_stages(indices, len(self.layers))
        last = len(self.layers) - 1
        maps = []
        x = self._embed(image)
        for i, stage in enumerate(self._stages()):
            x = stage(x)
            if i in taken:
                maps.append(self._as_map(self.norm(x) if norm and i == last else x, output_fmt))
            if stop_early and i == max(taken):
                break
            x = stage.downsample(x)
        if intermediates_only:
            return maps
        return self._as_features(self.norm(x) if i == last else x), maps

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Remove what :meth:`forward_intermediates` does not need for these stages.

        Returns:
            The stages as indices from 0.
        """
        taken = taken_stages(indices, len(self.layers))
        end = max(taken) + 1
        shortened = end < len(self.layers)
        self.layers = self.layers[:end]
        cast("Any", self.layers[-1]).downsample = nn.Identity()
        if shortened:
            self.num_features = self.head_hidden_size = self.stage_widths[end - 1]
        if prune_norm or shortened:
            self.norm = nn.Identity()
        if prune_head or shortened:
            self.reset_classifier(0, "")
        return taken

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a fresh one."""
        raise NotImplementedError

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay should spare: none beyond timm's own rule."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns by which timm groups parameters in layers, stem first."""
        fine = [
            (r"^layers\.(\d+)\.downsample", (99998,)),  # after the blocks of its stage
            (r"^layers\.(\d+)\.blocks\.(\d+)", None),
            (r"^norm", (99999,)),
        ]
        return {"stem": r"^patch_embed", "blocks": r"^layers\.(\d+)" if coarse else fine}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training: recompute each block in the backward pass."""
        for stage in self._stages():
            stage.grad_checkpointing = enable

    def _stages(self) -> Iterable[Any]:
        return cast("Iterable[Any]", self.layers)

    def _embed(self, image: Tensor) -> Tensor:
        """What the first stage takes.

        Raises:
            ValueError: If the image does not suit.
        """
        raise NotImplementedError

    def _check_format(self, output_fmt: str) -> None:
        """Raise ValueError where maps cannot be given in this format."""
        raise NotImplementedError

    def _as_map(self, x: Tensor, output_fmt: str) -> Tensor:
        """What a stage gave, in the format asked for."""
        return x

    def _as_features(self, x: Tensor) -> Tensor:
        """What a stage gave, as :meth:`forward_features` would."""
        return x
