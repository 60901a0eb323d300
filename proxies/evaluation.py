"""From names of measures to values over repeated initialisations."""

import functools
import logging
import math
import zlib
from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from proxies.circle import Circle, Radius
from proxies.errors import first_line
from proxies.memory import trim_host_memory
from proxies.readings import Readings, combine
from proxies.readings import Score as Score  # scaling looks for it here
from proxies.registry import Inputs, Proxy, get_proxy

log = logging.getLogger(__name__)

# A measure that fails says so by one of these; anything else is a bug and goes up. Third-party
# models assert on image sizes.
_FAILURES = (ValueError, RuntimeError, AssertionError)
_WITHOUT_FLOAT64 = ("mps",)


def seed_for(seed: int, key: str, repeat: int = 0) -> int:
    """Seed of one repeat of one thing: by identity, so that order and workers do not matter."""
    entropy = [seed, zlib.crc32(key.encode()), repeat]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


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
    the initial weights depend on the seed, the key and the repeat.

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
    images = _checked_images(images, image_size, seed).to(where)
    labels = _checked_labels(labels, len(images), seed).to(where)
    shape = tuple(images.shape[1:])

    def inputs(repeat: int) -> Inputs:
        circle = _circle(shape, points, radius, seed_for(seed, "circle", repeat))
        return Inputs(circle, images, labels, seed_for(seed, "measure", repeat))

    def fresh(repeat: int) -> nn.Module | str:
        return _fresh(build, seed_for(seed, key, repeat), where)

    ready: dict[str, dict[int, float]] = {}
    if together and len(chosen) > 1:
        fresh = functools.cache(fresh)
        found = _take_together(
            proxies, *zip(*((fresh(r), inputs(r)) for r in chosen), strict=True)
        )
        ready = {name: dict(zip(chosen, values, strict=True)) for name, values in found.items()}
    taken: dict[int, dict[str, float | str]] = {}
    failed: set[str] = set()
    for repeat in chosen:
        due = [p for p in proxies if p.name not in failed and (p.random or repeat == 0)]
        if not due:
            continue
        model = fresh(repeat)
        taken[repeat] = {
            p.name: ready[p.name][repeat] if p.name in ready else _take(p, model, inputs(repeat))
            for p in due
        }
        failed |= {name for name, what in taken[repeat].items() if isinstance(what, str)}
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


@functools.lru_cache(maxsize=32)
def _circle(shape: tuple[int, ...], points: int, radius: Radius, seed: int) -> Circle:
    generator = torch.Generator().manual_seed(seed)
    return Circle.random(shape, points, radius=radius, generator=generator)


def _checked_repeats(repeats: int, only: Collection[int] | None) -> list[int]:
    if repeats < 1:
        raise ValueError(f"repeats={repeats}; use at least 1")
    if only is None:
        return list(range(repeats))
    if strange := sorted(set(only) - set(range(repeats))):
        raise ValueError(f"there is no repeat {strange[0]} of {repeats}; use 0 to {repeats - 1}")
    return sorted(set(only))


def _fresh(build: Callable[[], nn.Module], seed: int, device: torch.device) -> nn.Module | str:
    """A network, drawn where it will be measured, or the reason why there is none."""
    accelerators = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(accelerators, device_type=device.type), torch.device(device):
        torch.manual_seed(seed)
        try:
            return build().to(device)
        except _FAILURES as error:
            return first_line(error)


def _take_together(
    proxies: Sequence[Proxy], models: Sequence[nn.Module | str], inputs: Sequence[Inputs]
) -> dict[str, Sequence[float]]:
    """Values of the networks, by measure, of those measures that all networks at once can give.

    Whatever goes wrong is left to be found, with its reason, one by one.
    """
    built = [model for model in models if isinstance(model, nn.Module)]
    ready: dict[str, Sequence[float]] = {}
    for proxy in proxies:
        if proxy.together is None or len(built) < len(models):
            continue
        try:
            values = proxy.together(built, inputs)
        except (*_FAILURES, MemoryError) as error:
            log.info("%s one by one: %s", proxy.name, first_line(error))
            continue
        if all(map(math.isfinite, values)):
            ready[proxy.name] = values
    return ready


def _take(proxy: Proxy, model: nn.Module | str, inputs: Inputs) -> float | str:
    """The value of a measure, which is finite, or the reason why there is none."""
    if isinstance(model, str):
        return model
    try:
        value = proxy.value(model, inputs)
    except _FAILURES as error:
        return first_line(error)
    if math.isfinite(value):
        return value
    return proxy.undefined if math.isnan(value) else "the value is infinite"
