"""Augmentation of training images and crops of validation images, by timm's transforms."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from unittest.mock import patch

from PIL import Image
from torch import Tensor

from asvit.data.files import crop_long
from proxies.messages import first_line

Statistics = tuple[float, float, float]  # of red, green and blue, for pixels in [0, 1]
PictureTransform = Callable[[Image.Image], Tensor]  # to [3, S, S] uint8
BatchTransform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of images and their targets


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images. The defaults are those of DeiT and Swin.

    References:
        RandAugment, arXiv:1909.13719; random erasing, arXiv:1708.04896; mixup, arXiv:1710.09412;
        CutMix, arXiv:1905.04899; repeated augmentation, arXiv:1901.09335.
    """

    # A policy in timm's notation: augmix-m5-w4-d2, 3a, original, ...; None for none.
    auto_augment: str | None = "rand-m9-mstd0.5-inc1"
    color_jitter: float = 0.4  # strength; timm applies it without auto_augment or with 3a
    erasing: float = 0.25  # probability of random erasing, which fills a rectangle with noise
    mixup: float = 0.8  # alpha; larger values give more even mixtures, 0 none
    cutmix: float = 1.0  # alpha; 0 for none
    switch: float = 0.5  # share of batches that get CutMix if both are on
    hflip: float = 0.5  # probability of a horizontal flip
    scale: float = 0.08  # smallest area of a random crop, as a share of the image
    interpolation: str = "bicubic"  # of resizing, as timm calls it
    crop_pct: float = 0.875  # of the resized side: that of the centre crop in validation
    # Differently augmented copies of each image in an epoch, which then has fewer different
    # images; 0 or 1 for one of each.
    repeats: int = 0

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with each other."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def copies(self) -> int:
        """Copies of each image in an epoch, at least 1."""
        return max(self.repeats, 1)

    def train_transform(self, image_size: int, *, mean: Statistics) -> PictureTransform:
        """The transform of training pictures to ``[3, S, S]`` uint8, before normalisation.

        It draws from the global generators of Python, numpy and PyTorch; ``mean`` is the fill
        colour of pixels from outside the image.
        """
        from timm.data import create_transform
        from timm.data.auto_augment import NAME_TO_OP

        operations = [name for name in NAME_TO_OP if name.startswith("Posterize")]
        try:
            with patch.dict(NAME_TO_OP, dict.fromkeys(operations, _posterize)):
                transform: PictureTransform = create_transform(
                    image_size,
                    is_training=True,
                    auto_augment=self.auto_augment,
                    color_jitter=self.color_jitter or None,
                    hflip=self.hflip,
                    scale=(self.scale, 1.0),
                    interpolation=self.interpolation,
                    mean=mean,
                    use_prefetcher=True,  # leaves normalisation to us
                )
        except (AssertionError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"timm cannot read auto_augment {self.auto_augment!r} ({first_line(error)}); use"
                " e.g. 'rand-m9-mstd0.5-inc1'"
            ) from error
        return transform

    def eraser(self) -> Callable[[Tensor], Tensor] | None:
        """Random erasing of a normalised image ``[3, S, S]``, in place; None if switched off.

        It draws from the global generators of Python and PyTorch.
        """
        if not self.erasing:
            return None
        from timm.data.random_erasing import RandomErasing

        erase: Callable[[Tensor], Tensor] = RandomErasing(self.erasing, mode="pixel", device="cpu")
        return erase

    def mixing(self, classes: int, label_smoothing: float) -> BatchTransform | None:
        """Mixup and CutMix: mix image i of a batch with image i from its end; None if off.

        They map ``[b, 3, S, S]`` with an even b, mixed in place, and ``[b]`` int64 to the images
        and soft targets ``[b, classes]`` that sum to 1, and draw from numpy's global generator.
        A share of each target, ``label_smoothing``, is spread over all classes.
        """
        if not self.mixes:
            return None
        from timm.data import Mixup

        mix: BatchTransform = Mixup(
            mixup_alpha=self.mixup,
            cutmix_alpha=self.cutmix,
            mode="batch",
            switch_prob=self.switch,
            label_smoothing=label_smoothing,
            num_classes=classes,
        )
        return mix

    def validation_transform(self, image_size: int) -> PictureTransform:
        """Resizes the shorter side, then crops the centre: ``[3, S, S]`` uint8.

        Pixels are the same with every version of Pillow.
        """
        from timm.data import create_transform
        from torchvision.transforms import Compose

        transform: PictureTransform = create_transform(
            image_size,
            is_training=False,
            interpolation=self.interpolation,
            crop_pct=self.crop_pct,
            use_prefetcher=True,
        )
        resize = partial(
            _resized,
            shorter=math.floor(image_size / self.crop_pct),  # as timm rounds it
            filter=Image.Resampling[self.interpolation.upper()],
        )
        return cast("PictureTransform", Compose([crop_long, resize, transform]))


def _resized(image: Image.Image, *, shorter: int, filter: Image.Resampling) -> Image.Image:
    """An image whose shorter side has so many pixels.

    Pillow rounds to 8 bits after each direction; from 13 on it begins with the height where that
    is faster. Here the width is always first, as in exported graphs.
    """
    least = min(image.size)
    width, height = (shorter * side // least for side in image.size)
    return image.resize((width, image.height), filter).resize((width, height), filter)


def _posterize(image: Image.Image, bits: int, **rest: Any) -> Image.Image:
    """Give black for 0 bits, as Pillow did before 13: timm asks for them at full strength."""
    from timm.data.auto_augment import posterize

    if bits < 1:
        return Image.new(image.mode, image.size)
    return cast("Image.Image", posterize(image, bits, **rest))
