"""A search space as a supernet has it: its paths, what they are alone, and what they cost."""

from __future__ import annotations

import numpy as np
import torch

from asvit.models.psvit_supernet import PSViTSupernet
from asvit.psvit_path import (
    BASIC,
    CELL_LAYERS,
    CELLS,
    IDENTITY,
    STAGES,
    PSViTPath,
    canonical,
)
from asvit.search.supernet_evolution import Path
from asvit.spaces import SPACES
from asvit.spaces.architectures import build_on_meta
from asvit.spaces.psvit import PSViTSpace
from asvit.training.short import LabelledTensors, accuracy
from asvit.training.supernets.settings import SupernetSettings
from proxies.counts import Cost, count
from proxies.evaluation import seed_for

# The stage whose tokens are those of a DeiT, from 0, by how tokens become fewer.
_DEIT_STAGE = {"1d": 0, "2d": 1}
_DEIT_PATCH = 16
_DEIT_LAYERS = 12


class Host:
    """The space of a supernet at its width and image size.

    Args:
        settings: Settings of the supernet.

    Attributes:
        letters: What a cell can be, one letter each.
        shape: A path: all have as many stages and cells.

    Raises:
        ValueError: If the space has no supernet, or width or image size do not suit it.
    """

    letters = "".join(CELL_LAYERS)
    shape: Path = (IDENTITY * CELLS,) * STAGES

    def __init__(self, settings: SupernetSettings) -> None:
        space = SPACES.get(settings.space)
        if not isinstance(space, PSViTSpace):
            known = [name for name, one in SPACES.items() if isinstance(one, PSViTSpace)]
            raise ValueError(
                f"space {settings.space!r} has no supernet; use one of {', '.join(known)}"
            )
        self._space = space
        self._width = settings.width
        self._image_size = settings.image_size
        space.check(self._alone(BASIC, BASIC, BASIC), settings.image_size)

    def build(self, num_classes: int, *, seed: int) -> PSViTSupernet:
        """A freshly initialised supernet, the same for the same seed on every device."""
        like = self._alone(BASIC, BASIC, BASIC)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_for(seed, "supernet"))
            return PSViTSupernet(
                like.stage_widths,
                like.heads,
                pooling=self._space.pooling,
                img_size=self._image_size,
                num_classes=num_classes,
            )

    def draw(self, rng: np.random.Generator) -> Path:
        """A path with each cell drawn uniformly, but for those without any layer."""
        return self._space.sample(rng).cells

    def architecture(self, path: Path) -> PSViTPath:
        """What ``path`` is alone; the same for paths that differ only in where identities are."""
        return self._alone(*canonical(path))

    def accuracy(self, supernet: PSViTSupernet, path: Path, images: LabelledTensors) -> float:
        """Accuracy of ``path`` with the weights of the supernet, per cent."""
        return accuracy(supernet.on(path), *images)

    def count(self, num_classes: int, *stages: str) -> Cost:
        """Parameters and multiply-adds of a path alone, counted; cells left out are identities."""
        text = str(self._alone(*stages))
        size = self._image_size
        return count(build_on_meta(text, image_size=size, num_classes=num_classes), size)

    def deit_macs(self, num_classes: int) -> int:
        """Multiply-adds of the DeiT of this supernet's size, on an image of its size.

        It has twelve layers and patches of 16 px, and is as wide as that stage of ours which has
        as many tokens: at 224 px and the space's own width this is DeiT-Tiny. The paper compares
        with DeiT; how to carry that to other sizes is our choice.
        """
        stage = _DEIT_STAGE[self._space.pooling]
        width = self._alone(BASIC, BASIC, BASIC).stage_widths[stage]
        patches = (-(-self._image_size // _DEIT_PATCH)) ** 2
        tokens = patches + 1
        layer = 12 * tokens * width**2 + 2 * tokens**2 * width
        embedding = 3 * _DEIT_PATCH**2 * width * patches
        return embedding + _DEIT_LAYERS * layer + width * num_classes

    def _alone(self, *stages: str) -> PSViTPath:
        first, second, third = (stage.ljust(CELLS, IDENTITY) for stage in stages)
        return self._space.architecture((first, second, third), (), self._width)
