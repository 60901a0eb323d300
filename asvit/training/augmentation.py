"""Augmentation of training images: timm's for single pictures, ours for whole batches.

Of whole batches, other draws for each image are made on the CPU, so that they are the same for all
devices, and follow from a generator alone.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, cast
from unittest.mock import patch

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from asvit.core.shared_settings import FITS
from asvit.data.kinds import MEAN, PICTURES, ImageKind, Picture, Statistics
from asvit.data.preparation import PictureTransform, Preparation, square
from proxies.messages import first_line

BatchTransform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of images and their targets
Draws = dict[str, Tensor]  # random numbers of a step by name

AHEAD = 50  # steps whose draws are copied together
_COLOURS = 3  # channels of pictures
_RATIO = 4 / 3  # largest of the sides of a random crop
_ERASED = 0.02, 1 / 3  # smallest and largest area of a rectangle, as a share of the image
_OBLONG = 3.3  # largest ratio of its sides


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training images. The defaults are those of DeiT and Swin.

    References:
        RandAugment, arXiv:1909.13719; random erasing, arXiv:1708.04896; mixup, arXiv:1710.09412;
        CutMix, arXiv:1905.04899.
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

    @classmethod
    def of(cls, settings: Any) -> "Augmentation":
        """That of settings with fields of the same names."""
        names = [own.name for own in fields(cls) if hasattr(settings, own.name)]
        return cls(**{name: getattr(settings, name) for name in names})

    def in_batches(self, kind: ImageKind) -> bool:
        """Whether images of a kind can be augmented as a whole batch, by tensor operations.

        Random augmentations are for pictures; others never have any.
        """
        return self.auto_augment == "none" or not kind.picture

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
            steps.insert(-1, RandomCrop(image_size, padding=self.shift, padding_mode="edge"))
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
    """One bit in place of none, which timm asks for at full strength and Pillow 13 refuses."""
    from timm.data.auto_augment import posterize

    return cast("Image.Image", posterize(image, max(bits, 1), **rest))


def draw_batch(
    count: int, shape: torch.Size, augmentation: Augmentation, generator: torch.Generator
) -> Draws:
    """Draw how each of so many images ``[C, S, S]`` is cropped, flipped, coloured and erased."""
    channels, side = shape[0], shape[-1]
    draws: Draws = {}
    theta = torch.eye(2, 3).repeat(count, 1, 1)
    if augmentation.crop_scale < 1:
        theta = _crops(count, augmentation.crop_scale, generator)
    if augmentation.color_jitter:
        draws["colours"] = _colours(count, channels, augmentation.color_jitter, generator)
    if augmentation.flip:
        flips = torch.rand(count, generator=generator) < augmentation.flip
        theta[:, 0, 0] *= 1 - 2 * flips.float()
    if augmentation.shift:
        most = augmentation.shift
        rows, columns = torch.randint(-most, most + 1, (2, count), generator=generator)
        theta[:, :, 2] += torch.stack([columns, rows], dim=1) * 2 / side
    if augmentation.crop_scale < 1 or augmentation.flip or augmentation.shift:
        draws["places"] = theta
    if augmentation.erasing:
        draws["erased"] = _rectangles(count, side, augmentation.erasing, generator)
        draws["noise"] = torch.randn(count, channels, 1, 1, generator=generator)
    return draws


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to ``device``; to a CUDA device without waiting for the copy."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def drawn_ahead(
    draw: Callable[[int], Draws], steps: range, device: torch.device
) -> Iterator[Draws]:
    """The draws of each step, on the device; :data:`AHEAD` steps share a copy."""
    for start in range(0, len(steps), AHEAD):
        draws = [draw(step) for step in steps[start : start + AHEAD]]
        copies = {
            name: to_device(torch.stack([one[name] for one in draws]), device) for name in draws[0]
        }
        for place in range(len(draws)):
            yield {name: values[place] for name, values in copies.items()}


def augmented(images: Tensor, draws: Draws) -> Tensor:
    """Images ``[b, C, S, S]``, changed as :func:`draw_batch` drew it.

    Crops, flips and shifts are one bilinear sampling; pixels from outside are those of the edge.
    """
    if "places" in draws:
        grid = F.affine_grid(draws["places"], list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if "colours" in draws:
        images = _coloured(images, draws["colours"])
    if "erased" in draws:
        top, bottom, left, right = draws["erased"].T[..., None]
        place = torch.arange(images.shape[-1], device=images.device)
        rows = (top <= place) & (place < bottom)
        columns = (left <= place) & (place < right)
        erased = (rows[:, :, None] & columns[:, None, :])[:, None]
        images = torch.where(erased, draws["noise"], images)
    return images


def _crops(count: int, least: float, generator: torch.Generator) -> Tensor:
    """A random part of each image, as timm's crops, ``[n, 2, 3]``; ``least`` of its area."""
    area, ratio, *places = torch.rand(4, count, generator=generator)
    area = least + (1 - least) * area
    ratio = torch.exp((2 * ratio - 1) * math.log(_RATIO) / 2)  # of the square root
    sides = torch.stack([area.sqrt() * ratio, area.sqrt() / ratio])
    sides = sides.clamp(min=least, max=1)  # where one is cut to 1, the other one is the area
    offsets = (2 * torch.stack(places) - 1) * (1 - sides)
    theta = torch.zeros(count, 2, 3)
    theta[:, (0, 1), (0, 1)] = sides.T
    theta[:, :, 2] = offsets.T
    return theta


def _colours(count: int, channels: int, strength: float, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation of each picture, ``[n, 3, 1, 1, 1]``.

    Of other channels than three, gain and offset, of half the strength, ``[n, 2, C, 1, 1]``.
    """
    if channels != _COLOURS:
        shape = (2, count, channels, 1, 1)
        return (torch.rand(shape, generator=generator) - 0.5).mul(strength).transpose(0, 1)
    uniform = 2 * torch.rand(3, count, 1, 1, 1, generator=generator) - 1
    return uniform.mul(strength).transpose(0, 1)


def _coloured(pixels: Tensor, colours: Tensor) -> Tensor:
    """Normalised images with other colours, as drawn by :func:`_colours`."""
    if pixels.shape[1] != _COLOURS:
        gain, offset = colours.unbind(1)
        return torch.addcmul(offset.expand_as(pixels), pixels, 1 + gain)
    brightness, contrast, saturation = colours.unbind(1)
    middle = pixels.mean(dim=(1, 2, 3), keepdim=True)
    grey = pixels.mean(dim=1, keepdim=True)
    coloured = torch.lerp(grey, pixels, 1 + saturation)
    return torch.lerp(middle, coloured, 1 + contrast).add_(brightness)


def _rectangles(count: int, side: int, probability: float, generator: torch.Generator) -> Tensor:
    """Top, bottom, left and right of what is erased of each image, in pixels, ``[n, 4]``."""
    chosen, area, ratio, *places = torch.rand(5, count, generator=generator)
    least, most = _ERASED
    area = (least + (most - least) * area) * side**2
    ratio = torch.exp((2 * ratio - 1) * math.log(_OBLONG) / 2)  # of the square root
    sides = torch.stack([area.sqrt() * ratio, area.sqrt() / ratio]).round().clamp(max=side)
    sides = sides * (chosen < probability)
    begins = (torch.stack(places) * (side - sides + 1)).floor()
    return torch.stack([begins, begins + sides], dim=1).permute(2, 0, 1).flatten(1).long()
