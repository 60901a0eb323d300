"""From names of measures to values over repeated initialisations."""

import functools
import math
import statistics
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from proxies.circle import Circle, Radius
from proxies.errors import first_line
from proxies.memory import trim_host_memory
from proxies.registry import Better, Inputs, Proxy, get_proxy

# A measure that fails says so by one of these; anything else is a bug and goes up. Third-party
# models assert on image sizes.
_FAILURES = (ValueError, RuntimeError, AssertionError)
_WITHOUT_FLOAT64 = ("mps",)


@dataclass(frozen=True)
class Score:
    """A measure of an architecture over repeated initialisations.

    Args:
        value: Mean over the repeats; NaN if any repeat failed.
        std: Sample standard deviation over the repeats, 0 for one repeat.
        values: The repeats, in order.
        better: Which direction is better.
        reason: Why there is no value; empty when there is one.
    """

    value: float
    std: float
    values: tuple[float, ...]
    better: Better
    reason: str = ""

    @property
    def valid(self) -> bool:
        """Whether every repeat gave a finite value."""
        return math.isfinite(self.value)


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

    Returns:
        A score for each name. A measure that fails is NaN with the reason.

    Raises:
        KeyError: If a name is unknown.
        ValueError: If ``repeats < 1``, the images do not have the image size, or there is not one
            label an image.
    """
    proxies = [get_proxy(name) for name in names]
    if repeats < 1:
        raise ValueError(f"repeats={repeats}; use at least 1")
    where = resolve_device(device)
    images = _checked_images(images, image_size, seed).to(where)
    labels = _checked_labels(labels, len(images), seed).to(where)
    values: dict[str, list[float]] = {proxy.name: [] for proxy in proxies}
    reasons: dict[str, str] = {}
    for repeat in range(repeats):
        due = [p for p in proxies if p.name not in reasons and (p.random or repeat == 0)]
        if not due:
            break
        circle = _circle(tuple(images.shape[1:]), points, radius, seed_for(seed, "circle", repeat))
        model, failure = _fresh(build, seed_for(seed, key, repeat), where)
        for proxy in due:
            value, reason = math.nan, failure
            if model is not None:
                inputs = Inputs(circle, images, labels, seed_for(seed, "measure", repeat))
                value, reason = _take(proxy, model, inputs)
            values[proxy.name].append(value)
            if reason:
                reasons[proxy.name] = f"repeat {repeat + 1} of {repeats}: {reason}"
    trim_host_memory(every=4)
    return {p.name: _score(p, values[p.name], reasons.get(p.name, "")) for p in proxies}


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


def _fresh(
    build: Callable[[], nn.Module], seed: int, device: torch.device
) -> tuple[nn.Module | None, str]:
    """A network, drawn where it will be measured, or the reason why there is none."""
    accelerators = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(accelerators, device_type=device.type), torch.device(device):
        torch.manual_seed(seed)
        try:
            return build().to(device), ""
        except _FAILURES as error:
            return None, first_line(error)


def _take(proxy: Proxy, model: nn.Module, inputs: Inputs) -> tuple[float, str]:
    try:
        value = proxy.value(model, inputs)
    except _FAILURES as error:
        return math.nan, first_line(error)
    if math.isfinite(value):
        return value, ""
    return math.nan, proxy.undefined if math.isnan(value) else "the value is infinite"


def _score(proxy: Proxy, values: Sequence[float], reason: str) -> Score:
    if reason:
        return Score(math.nan, math.nan, tuple(values), proxy.better, reason)
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return Score(statistics.fmean(values), spread, tuple(values), proxy.better)
