"""Augmentation of training images and crops of validation images.

timm transforms pictures one by one; :mod:`asvit.training.batched` changes whole batches.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, cast
from unittest.mock import patch

from PIL import Image
from torch import Tensor

from asvit.core.preparing_settings import FITS
from asvit.data.kinds import MEAN, PICTURES, ImageKind, Picture, Statistics
from asvit.data.preparation import PictureTransform, Preparation, square
from proxies.messages import first_line

BatchTransform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of images and their targets


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images. The defaults are those of DeiT and Swin.

    References:
        RandAugment, arXiv:1909.13719; random erasing, arXiv:1708.04896; mixup, arXiv:1710.09412;
        CutMix, arXiv:1905.04899; repeated augmentation, arXiv:1901.09335.
    """

    auto_augment: str = "rand-m9-mstd0.5-inc1"  # a policy in timm's notation, or none
    # Strength; timm applies it without auto_augment or with 3a. Of arrays, the gain and the offset
    # of each channel.
    color_jitter: float = 0.4
    erasing: float = 0.25  # probability of random erasing, which fills a rectangle with noise
    mixup: float = 0.8  # alpha; larger values give more even mixtures, 0 none
    cutmix: float = 1.0  # alpha; 0 for none
    flip: float = 0.5  # probability of a horizontal flip
    crop_scale: float = 0.08  # smallest area of a random crop, as a share of the image
    # Largest shift of an image along each axis, in pixels of its final size: a padded crop, which
    # repeats the edge.
    shift: int = 0
    crop_pct: float = 0.875  # of the resized side: that of the centre crop in validation
    fit: str = "crop"  # how oblong images become square, one of ``FITS``
    # Differently augmented copies of each image in an epoch, which then has fewer different
    # images; 0 or 1 for one of each.
    repeats: int = 0

    @classmethod
    def of(cls, settings: Any) -> "Augmentation":
        """That of settings with fields of the same names."""
        names = [own.name for own in fields(cls) if hasattr(settings, own.name)]
        return cls(**{name: getattr(settings, name) for name in names})

    def in_batches(self, kind: ImageKind) -> bool:
        """Whether images of a kind can be augmented as a whole batch, by tensor operations."""
        return self.auto_augment == "none" or not kind.picture

    def left_out(self, kind: ImageKind) -> str:
        """Why a part of it does not apply to images of a kind, in a line; empty if all does."""
        if kind.picture or self.auto_augment == "none":
            return ""
        return (
            f"auto_augment {self.auto_augment!r} is for 8-bit colours and is left out, as images "
            f"have {kind}; gains and offsets of each channel take its place "
            f"(color_jitter={self.color_jitter:g})"
        )

    def train_transform(self, image_size: int, *, mean: Statistics) -> PictureTransform:
        """Timm's transform of a training picture to ``[3, S, S]`` uint8, without erasing.

        It draws from the global generators of Python, numpy and PyTorch; ``mean`` is the fill
        colour of pixels from outside the image.
        """
        from timm.data import create_transform
        from timm.data.auto_augment import NAME_TO_OP
        from torchvision.transforms import RandomCrop

        posterizes = [name for name in NAME_TO_OP if name.startswith("Posterize")]
        operations = {**NAME_TO_OP, **dict.fromkeys(posterizes, _posterize)}
        try:
            with patch.dict(NAME_TO_OP, operations):
                transform: PictureTransform = create_transform(
                    image_size,
                    is_training=True,
                    auto_augment=None if self.auto_augment == "none" else self.auto_augment,
                    color_jitter=self.color_jitter or None,
                    hflip=self.flip,
                    scale=(self.crop_scale, 1.0),
                    interpolation="bicubic",
                    mean=mean,
                    use_prefetcher=True,  # leaves normalisation to us
                )
        except (AssertionError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"timm cannot read auto_augment {self.auto_augment!r} ({first_line(error)}); use"
                " e.g. 'rand-m9-mstd0.5-inc1'"
            ) from error
        steps = cast("Any", transform).transforms
        if self.fit != "crop":
            steps.insert(0, partial(_whole, side=2 * image_size, fit=self.fit, mean=mean))
        if self.shift:
            crop = RandomCrop(image_size, padding=self.shift, padding_mode="edge")
            steps.insert(-1, crop)
        return transform

    def after_pictures(self) -> "Augmentation":
        """What is left for whole batches behind :meth:`train_transform`: random erasing."""
        return replace(self, color_jitter=0.0, flip=0.0, crop_scale=1.0, shift=0)

    def mixing(self, classes: int, label_smoothing: float) -> BatchTransform | None:
        """Mixup and CutMix: mix image i of a batch with image i from its end; None if off.

        They map ``[b, C, S, S]`` with an even b, mixed in place, and ``[b]`` int64 to the images
        and soft targets ``[b, classes]`` that sum to 1, and draw from numpy's global generator.
        A share of each target, ``label_smoothing``, is spread over all classes.
        """
        if not (self.mixup or self.cutmix):
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

    def preparation(
        self, image_size: int, *, kind: ImageKind = PICTURES, mean: Statistics = MEAN
    ) -> Preparation:
        """How images to validate on are resized, as :attr:`fit` says, and cropped."""
        return Preparation(
            image_size, kind, mean, crop_pct=self.crop_pct, crop_mode=FITS[self.fit]
        )


def _whole(image: Image.Image, *, side: int, fit: str, mean: Statistics) -> Picture:
    """A whole picture as a square of at most ``side``; a longer shorter side stays."""
    return square(image, min(max(image.size), max(min(image.size), side)), fit, mean)


def _posterize(image: Image.Image, bits: int, **rest: Any) -> Image.Image:
    """Give black for 0 bits, as Pillow did before 13: timm asks for them at full strength."""
    from timm.data.auto_augment import posterize

    if bits < 1:
        return Image.new(image.mode, image.size)
    return cast("Image.Image", posterize(image, bits, **rest))
