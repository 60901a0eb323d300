"""Augmentation of whole batches of normalised images, with other draws for each of them.

Draws are made on the CPU, so that they are the same for all devices, and follow from a generator
alone.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from asvit.training.augmentation import Augmentation

Draws = dict[str, Tensor]  # random numbers of a step by name

AHEAD = 50  # steps whose draws are copied together
_COLOURS = 3  # channels of pictures
_RATIO = 4 / 3  # largest of the sides of a random crop
_ERASED = 0.02, 1 / 3  # smallest and largest area of a rectangle, as a share of the image
_OBLONG = 3.3  # largest ratio of its sides


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
