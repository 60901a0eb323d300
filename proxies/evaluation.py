"""From names of measures to values over repeated initialisations."""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from proxies.circle import Radius
from proxies.memory import trim_host_memory
from proxies.readings import Readings, combine
from proxies.readings import Score as Score  # scaling looks for it here
from proxies.registry import get_proxy
from proxies.repeats import Setting, take_repeats
from proxies.repeats import seed_for as seed_for
from proxies.surroundings import ordinary

_WITHOUT_FLOAT64 = ("mps",)


def measure(
    build: Callable[[], nn.Module],
    names: Sequence[str],
    *,
    key: str = "",
    repeats: int = 5,
    seed: int = 0,
    image_size: int | None = None,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    device: str = "auto",
    points: int = 10,
    radius: Radius = "sqrt_n",
    together: bool = False,
) -> dict[str, Score]:
    """Measure a freshly initialised network, several times over.

    Circle and images depend on the seed alone, so every architecture of a run meets the same ones;
    the initial weights depend on the seed, the key and the repeat. Nothing depends on what the
    caller has set for torch (see :mod:`proxies.surroundings`); threads take turns.

    Args:
        build: Makes the network, freshly initialised at each call from torch's generator.
        names: Measures to take; see ``PROXIES``.
        key: Identity of the architecture, such as its text.
        repeats: Networks to average over.
        seed: Seed of the run.
        image_size: Pixels per side; left out, the images' own, or 224 without images.
        images: ``[n, 3, S, S]`` for the kernel; left out, 16 images of standard normal noise.
        labels: Class of each image, ``[n]``, for measures that take a loss; left out, random ones.
        device: ``"auto"`` for an accelerator where there is one, or a torch device.
        points: Points of the circle.
        radius: Of the circle; see :meth:`Circle.random`.
        together: Whether measures that can take all networks in one vectorised pass do so, where
            the architecture allows it. For accelerators that small networks do not fill; takes as
            many times the memory, and gives the same values up to rounding.

    Returns:
        A score for each name. A measure that fails is NaN with the reason.

    Raises:
        KeyError: If a name is unknown.
        ValueError: If ``repeats < 1``, the images do not have the image size, or there is not one
            label an image.
    """
    readings = measure_repeats(
        build,
        names,
        key=key,
        repeats=repeats,
        seed=seed,
        image_size=image_size,
        images=images,
        labels=labels,
        device=device,
        points=points,
        radius=radius,
        together=together,
    )
    return combine([readings])


def measure_repeats(
    build: Callable[[], nn.Module],
    names: Sequence[str],
    *,
    key: str = "",
    repeats: int = 5,
    only: Collection[int] | None = None,
    seed: int = 0,
    image_size: int | None = None,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    device: str = "auto",
    points: int = 10,
    radius: Radius = "sqrt_n",
    together: bool = False,
) -> Readings:
    """Take some of the repeats of :func:`measure`, so that workers can share them.

    ``measure(...)`` is ``combine([measure_repeats(..., only=[r]) for r in range(repeats)])``, and
    so is any other split: a repeat's seeds do not depend on what else is taken with it. To the
    bit, unless ``together``.

    Args:
        build: As for :func:`measure`, like all the other arguments.
        names: Measures to take.
        key: Identity of the architecture.
        repeats: How many repeats there are in all.
        only: Which of them to take, from 0; all unless given.
        seed: Seed of the run.
        image_size: Pixels per side.
        images: For the kernel.
        labels: Class of each image.
        device: Where to measure.
        points: Points of the circle.
        radius: Of the circle.
        together: Whether the repeats of this call are taken at once. Their values then depend, in
            the last digits, on which repeats are taken in one call.

    Returns:
        The readings; :func:`combine` makes scores of them.

    Raises:
        KeyError: If a name is unknown.
        ValueError: As :func:`measure`, or if ``only`` has a repeat that there is not.
    """
    proxies = [get_proxy(name) for name in names]
    chosen = _checked_repeats(repeats, only)
    where = resolve_device(device)
    with ordinary():
        images = _checked_images(images, image_size, seed).to(where)
        labels = _checked_labels(labels, len(images), seed).to(where)
        if images.is_inference():
            images = images.clone()  # whose gradient can be asked for
        setting = Setting(build, key, seed, images, labels, points, radius)
        taken = take_repeats(proxies, setting, chosen, together=together and len(chosen) > 1)
    trim_host_memory(every=4)
    return Readings(tuple(names), repeats, taken)


def resolve_device(device: str) -> torch.device:
    """The device that a name stands for; ``"auto"`` is an accelerator where there is one.

    Raises:
        ValueError: If there is no such device here.
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found if found and found.type not in _WITHOUT_FLOAT64 else torch.device("cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} is not available; use 'auto' or 'cpu'") from error
    if found.type in _WITHOUT_FLOAT64:
        raise ValueError(f"device {device!r} has no float64, which the kernel needs; use 'cpu'")
    return found


def _checked_images(images: Tensor | None, image_size: int | None, seed: int) -> Tensor:
    if images is None:
        side = 224 if image_size is None else image_size
        generator = torch.Generator().manual_seed(seed_for(seed, "images"))
        return torch.randn(16, 3, side, side, generator=generator)
    if images.ndim != 4:
        raise ValueError(f"images have shape {tuple(images.shape)}; use [n, C, H, W]")
    if image_size is not None and tuple(images.shape[-2:]) != (image_size, image_size):
        size = "x".join(map(str, images.shape[-2:]))
        raise ValueError(f"images are {size} px but image_size={image_size}; use one size")
    return images


def _checked_labels(labels: Tensor | None, images: int, seed: int) -> Tensor:
    if labels is None:
        generator = torch.Generator().manual_seed(seed_for(seed, "labels"))
        return torch.randint(1000, (images,), generator=generator)
    if labels.shape != (images,) or labels.is_floating_point():
        kind = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"labels are {kind} for {images} images; use one whole number an image")
    return labels.long()


def _checked_repeats(repeats: int, only: Collection[int] | None) -> list[int]:
    if repeats < 1:
        raise ValueError(f"repeats={repeats}; use at least 1")
    if only is None:
        return list(range(repeats))
    if strange := sorted(set(only) - set(range(repeats))):
        raise ValueError(f"there is no repeat {strange[0]} of {repeats}; use 0 to {repeats - 1}")
    return sorted(set(only))
