"""Batches of images in memory: drawn on the CPU, cut out and augmented on the device."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from asvit.training.device_queue import Draws
from asvit.training.short_settings import Recipe

LabelledTensors = tuple[Tensor, Tensor]  # images [n, C, H, W] and labels [n] int64

_COLOURS = 3  # channels of pictures
_RATIO = 4 / 3  # largest of the sides of a random crop


def draw_batch(
    indices: Tensor, pixels: Tensor, recipe: Recipe, generator: torch.Generator
) -> Draws:
    """Draw how images ``[n]`` of ``pixels`` are cropped, coloured, flipped and shifted.

    All draws are on the CPU, so that they are the same for all devices.
    """
    count, channels = len(indices), pixels.shape[1]
    draws = {"indices": indices}
    if recipe.crop_scale < 1:
        draws["crops"] = _crops(count, recipe.crop_scale, generator)
    if recipe.color_jitter:
        draws["colours"] = _colours(count, channels, recipe.color_jitter, generator)
    if recipe.flip:
        draws["flips"] = torch.rand(count, 1, generator=generator) < 0.5
    if recipe.shift:
        draws["shifts"] = torch.randint(
            -recipe.shift, recipe.shift + 1, (2, count, 1), generator=generator
        )
    return draws


def batch_of(pixels: Tensor, labels: Tensor, draws: Draws) -> LabelledTensors:
    """The images and labels that :func:`draw_batch` drew; all tensors are on one device."""
    images, device = pixels[draws["indices"]], pixels.device
    if "crops" in draws:
        grid = F.affine_grid(draws["crops"], list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if "colours" in draws:
        images = _coloured(images, draws["colours"])
    if "flips" in draws or "shifts" in draws:
        count, _, height, width = images.shape
        rows = torch.arange(height, device=device).expand(count, height)
        columns = torch.arange(width, device=device).expand(count, width)
        if "flips" in draws:
            columns = torch.where(draws["flips"], columns.flip(1), columns)
        if "shifts" in draws:
            # Clamping repeats the edge for pixels from outside.
            rows = (rows + draws["shifts"][0]).clamp(0, height - 1)
            columns = (columns + draws["shifts"][1]).clamp(0, width - 1)
        image = torch.arange(count, device=device).view(count, 1, 1)
        at = (image, rows[:, :, None], columns[:, None, :])  # [B, H, W] once broadcast
        images = images.movedim(1, -1)[at].movedim(-1, 1)
    return images, labels[draws["indices"]]


def _crops(count: int, least: float, generator: torch.Generator) -> Tensor:
    """A random part of each image, of ``least`` of its area or more, ``[n, 2, 3]``.

    As timm's random crops, of sides in ratios of 3/4 to 4/3.
    """
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
    """Brightness, contrast and saturation of each picture, ``[3, n, 1, 1, 1]``.

    Of other channels than three, gain and offset of each, of half the strength,
    ``[2, n, C, 1, 1]``.
    """
    if channels != _COLOURS:
        shape = (2, count, channels, 1, 1)
        return (torch.rand(shape, generator=generator) - 0.5) * strength
    return (2 * torch.rand(3, count, 1, 1, 1, generator=generator) - 1) * strength


def _coloured(pixels: Tensor, colours: Tensor) -> Tensor:
    """Normalised images with other colours, as drawn by :func:`_colours`."""
    if pixels.shape[1] != _COLOURS:
        gain, offset = colours
        varied: Tensor = pixels * (1 + gain) + offset
        return varied
    brightness, contrast, saturation = colours
    middle = pixels.mean(dim=(1, 2, 3), keepdim=True)
    grey = pixels.mean(dim=1, keepdim=True)
    coloured = grey + (pixels - grey) * (1 + saturation)
    changed: Tensor = middle + (coloured - middle) * (1 + contrast) + brightness
    return changed
