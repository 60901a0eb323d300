"""Augmentation of training images and crops of validation images.

Pictures are transformed by timm, arrays by torchvision in float32: nothing is cut to 8 bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from asvit.core.preparing_settings import FITS
from asvit.data.kinds import MEAN, PICTURES, ImageKind, Statistics
from asvit.data.preparation import PictureTransform, Squared, as_tensor, centre_crop
from proxies.messages import first_line

ImageTransform = Callable[[Tensor], Tensor]  # of a normalised image [C, S, S], in place
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
    # Strength; timm applies it without auto_augment or with 3a. Of arrays, the gain and the offset
    # of each channel.
    color_jitter: float = 0.4
    erasing: float = 0.25  # probability of random erasing, which fills a rectangle with noise
    mixup: float = 0.8  # alpha; larger values give more even mixtures, 0 none
    cutmix: float = 1.0  # alpha; 0 for none
    hflip: float = 0.5  # probability of a horizontal flip
    scale: float = 0.08  # smallest area of a random crop, as a share of the image
    interpolation: str = "bicubic"  # of resizing, as timm calls it
    # What resizes random crops of pictures: "pillow", or "torch" in less than half the time, with
    # pixels that differ by rounding.
    resizing: str = "pillow"
    crop_pct: float = 0.875  # of the resized side: that of the centre crop in validation
    fit: str = "crop"  # how oblong images become square, one of ``FITS``
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

    def left_out(self, kind: ImageKind) -> str:
        """Why a part of it does not apply to images of a kind, in a line; empty if all does."""
        if kind.picture or self.auto_augment is None:
            return ""
        return (
            f"auto_augment {self.auto_augment!r} is for 8-bit colours and is left out, as images "
            f"have {kind}; gains and offsets of each channel take its place "
            f"(color_jitter={self.color_jitter:g})"
        )

    def train_transform(
        self,
        image_size: int,
        *,
        mean: Statistics,
        kind: ImageKind = PICTURES,
    ) -> PictureTransform:
        """The transform of training images, before normalisation.

        To ``[3, S, S]`` uint8 of pictures, ``[C, S, S]`` float32 of arrays. It draws from the
        global generators of Python, numpy and PyTorch; ``mean`` is the fill colour of pixels from
        outside the image.
        """
        if not kind.picture:
            return self._array_transform(image_size, tuple(kind.scale * value for value in mean))
        from timm.data import create_transform
        from timm.data.auto_augment import NAME_TO_OP
        from torchvision.transforms import ColorJitter

        posterizes = [name for name in NAME_TO_OP if name.startswith("Posterize")]
        operations = {**NAME_TO_OP, **dict.fromkeys(posterizes, _posterize)}
        try:
            with patch.dict(NAME_TO_OP, operations):
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
        steps = cast("Any", transform).transforms
        if self.resizing == "torch":
            steps[0] = _TorchCrop(steps[0])
        steps[:] = [_Jitter(step) if isinstance(step, ColorJitter) else step for step in steps]
        steps[:0] = self._squared(image_size, tuple(255 * value for value in mean))
        return transform

    def _squared(self, image_size: int, fill: Statistics) -> list[Squared]:
        """What makes oblong images square where they are to be seen whole."""
        if self.fit == "crop":
            return []
        return [Squared(image_size, FITS[self.fit], fill, self.interpolation)]

    def _array_transform(self, image_size: int, fill: Statistics) -> PictureTransform:
        """Random crops and flips of arrays."""
        from torchvision.transforms import Compose, InterpolationMode, v2

        mode = InterpolationMode(self.interpolation)
        crop = v2.RandomResizedCrop(image_size, (self.scale, 1.0), interpolation=mode)
        flip = v2.RandomHorizontalFlip(self.hflip)
        steps = [as_tensor, *self._squared(image_size, fill), crop, flip]
        return cast("PictureTransform", Compose(steps))

    def on_normalised(self, kind: ImageKind = PICTURES) -> ImageTransform | None:
        """What changes a normalised image ``[C, S, S]`` in place; None for nothing.

        Gains and offsets of each channel of arrays, then random erasing. It draws from the global
        generators of Python and PyTorch.
        """
        from torchvision.transforms import Compose

        steps: list[ImageTransform] = []
        if not kind.picture and self.color_jitter:
            steps.append(self._vary_channels)
        if self.erasing:
            from timm.data.random_erasing import RandomErasing

            steps.append(RandomErasing(self.erasing, mode="pixel", device="cpu"))
        return cast("ImageTransform", Compose(steps)) if steps else None

    def _vary_channels(self, image: Tensor) -> Tensor:
        """Multiply each channel and add to it a little, by half of the strength at most."""
        gain, offset = (torch.rand(2, len(image), 1, 1) - 0.5) * self.color_jitter
        return image.mul_(1 + gain).add_(offset)

    def mixing(self, classes: int, label_smoothing: float) -> BatchTransform | None:
        """Mixup and CutMix: mix image i of a batch with image i from its end; None if off.

        They map ``[b, C, S, S]`` with an even b, mixed in place, and ``[b]`` int64 to the images
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
            switch_prob=0.5,  # of CutMix, if both are on
            label_smoothing=label_smoothing,
            num_classes=classes,
        )
        return mix

    def validation_transform(
        self, image_size: int, *, kind: ImageKind = PICTURES, mean: Statistics = MEAN
    ) -> PictureTransform:
        """Resizes as :attr:`fit` says, then crops the centre: ``[C, S, S]``, not normalised."""
        return centre_crop(
            image_size,
            kind,
            interpolation=self.interpolation,
            crop_pct=self.crop_pct,
            crop_mode=FITS[self.fit],
            mean=mean,
        )


@dataclass(frozen=True)
class _TorchCrop:
    """The random crop of timm, with the same draws, resized by PyTorch's 8-bit kernels."""

    crop: Any

    def __call__(self, image: Image.Image) -> Image.Image:
        from torchvision.transforms.v2 import functional as tvf

        crop = self.crop
        top, left, height, width = crop.get_params(image, crop.scale, crop.ratio)
        pixels = np.array(image.crop((left, top, left + width, top + height)))
        resized = tvf.resize(
            torch.from_numpy(pixels).permute(2, 0, 1),
            crop.size,
            crop.interpolation,
            antialias=True,
        )
        return Image.fromarray(resized.permute(1, 2, 0).numpy())


@dataclass(frozen=True)
class _Jitter:
    """timm's colour jitter, with the same draws and pixels in half the time for small pictures.

    Of timm's numbers, torchvision varies brightness, contrast and saturation, but no hue.
    """

    jitter: Any

    def __call__(self, image: Image.Image) -> Image.Image:
        jitter = self.jitter
        order, *factors = jitter.get_params(
            jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue
        )
        for number in order.tolist():
            if (factor := factors[number]) is not None:
                image = Image.blend(_LEAST[number](image), image, factor)
        return image


def _average(image: Image.Image) -> Image.Image:
    """Of the average grey of an image everywhere."""
    grey = np.frombuffer(image.convert("L").tobytes(), np.uint8)
    return Image.new(image.mode, image.size, (int(grey.mean() + 0.5),) * 3)


# What an image without any brightness, contrast or colour would be, in torchvision's order.
_LEAST: Sequence[Callable[[Image.Image], Image.Image]] = (
    lambda image: Image.new(image.mode, image.size),
    _average,
    lambda image: image.convert("L").convert(image.mode),
)


def _posterize(image: Image.Image, bits: int, **rest: Any) -> Image.Image:
    """Give black for 0 bits, as Pillow did before 13: timm asks for them at full strength."""
    from timm.data.auto_augment import posterize

    if bits < 1:
        return Image.new(image.mode, image.size)
    return cast("Image.Image", posterize(image, bits, **rest))
