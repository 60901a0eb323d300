"""Measures by name, evaluated on repeated initialisations of a network."""

import functools
import logging
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from proxies.expansion import Circle, Radius
from proxies.features import isolated, tensors_of
from proxies.messages import fault, first_line
from proxies.registry import Inputs, Proxy, Score, combine, get_proxy

log = logging.getLogger(__name__)

_WITHOUT_FLOAT64 = ("mps",)

# Errors that fail only one measure of one network. Both may be the user's code, which may raise
# anything. Interrupts and a MemoryError are raised.
FAILURES = (Exception, SystemExit)

LARGEST = 1e150  # valid value; with larger ones the mean and the deviation overflow


class DeviceError(OSError):
    """An accelerator computes nothing any more in this process: it failed, or a kernel on it."""


def measure(
    build: Callable[[], nn.Module],
    names: str | Iterable[str],
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
    """Measure an architecture on several freshly initialised networks.

    Images depend on the seed alone, circles on the seed and the repeat, so all architectures of a
    run receive the same ones; initial weights depend on the seed, the key and the repeat. Global
    torch state has no influence. Only one thread measures at a time.

    Args:
        build: Returns a network, initialised anew from torch's generator at each call.
        names: Names of the measures, or one of them; see ``PROXIES``.
        key: Identity of the architecture, such as its text.
        repeats: Number of networks to average over.
        seed: Seed of the run.
        image_size: Pixels per side; by default the images' own, or 224 without images.
        images: ``[n, C, S, S]`` for the kernel; by default 16 images of standard normal noise.
        labels: Class of each image, ``[n]``, for measures of a loss; random by default.
        device: A torch device, or ``"auto"`` for an accelerator if there is one.
        points: Number of points on the circle.
        radius: Radius of the circle; see :meth:`Circle.random`.

    Returns:
        A score for each name. The value of a failed measure is NaN, with a reason.

    Raises:
        KeyError: If a name is unknown.
        ValueError: If there is no repeat, the images are not square or not of the image size, or
            there is not one label for each.
        DeviceError: If an accelerator computes nothing any more, an OSError.

    Example:
        >>> build = partial(timm.create_model, "vit_tiny_patch16_224", img_size=32, depth=2)
        >>> scores = proxies.measure(build, ["length_distortion"], repeats=2, image_size=32)
        >>> scores["length_distortion"].better
        'higher'
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    return combine(names, repeats, measure_repeats(**locals()))  # all arguments by name


def measure_repeats(
    build: Callable[[], nn.Module],
    names: str | Iterable[str],
    *,
    key: str = "",
    repeats: int = 5,
    only: Iterable[int] | None = None,
    seed: int = 0,
    image_size: int | None = None,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    device: str = "auto",
    points: int = 10,
    radius: Radius = "sqrt_n",
) -> dict[int, dict[str, float | str]]:
    """Measure some of the repeats of :func:`measure`, so that workers can share them.

    ``only`` has the repeats to measure, from 0, all by default. Other arguments and errors as
    :func:`measure`, whose scores :func:`combine` gives, bit for bit.

    Returns:
        For each repeat, a finite value or the failure reason of each measure. A measure is missing
        after its first failure, and after repeat 0 if it does not depend on the initial weights.
    """
    measures = [get_proxy(name) for name in ((names,) if isinstance(names, str) else names)]
    if repeats < 1:
        raise ValueError(f"repeats={repeats}; use at least 1")
    target = resolve_device(device)
    readings: dict[int, dict[str, float | str]] = {}
    failed: set[str] = set()
    with isolated():
        images = _checked_images(images, image_size, seed).to(target)
        labels = _checked_labels(labels, len(images), seed).to(target)
        if images.is_inference():
            images = images.clone()  # inference tensors have no gradient
        for repeat in range(repeats) if only is None else sorted(only):
            due = [p for p in measures if p.name not in failed and (p.random or repeat == 0)]
            if not due:
                continue
            model = _network(build, target, seed_for(seed, key, repeat))
            shape = tuple(images.shape[1:])
            circle = _random_circle(shape, points, radius, seed_for(seed, "circle", repeat))
            inputs = Inputs(circle, images, labels, seed_for(seed, "measure", repeat))
            values = {p.name: _value_of(p, model, inputs) for p in due}
            if repeat == 0 and isinstance(model, nn.Module):
                values |= _faults(due, values, model, inputs)
            readings[repeat] = values
            failed |= {name for name, value in values.items() if isinstance(value, str)}
    return readings


def resolve_device(device: str, *, float64: bool = True) -> torch.device:
    """The torch device of a name; ``"auto"`` is an accelerator if there is one, else the CPU."""
    lacking = _WITHOUT_FLOAT64 if float64 else ()
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None or found.type in lacking else found
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} is not available; use 'auto' or 'cpu'") from error
    if resolved.type == "meta":
        raise ValueError(f"device {device!r} computes nothing; use 'auto' or 'cpu'")
    if resolved.type in lacking:
        raise ValueError(f"device {device!r} has no float64, which is needed; use 'cpu'")
    return resolved


def check_device(device: torch.device) -> None:
    """Raise a DeviceError if an accelerator computes nothing any more after a failure."""
    if device.type == "cpu":
        return
    try:
        torch.accelerator.synchronize(device)
    except RuntimeError as error:
        raise DeviceError(
            f"device {device} computes nothing any more ({first_line(error)}); a new process can "
            "go on, and with two workers or more only the network that causes this fails"
        ) from error


def seed_for(seed: int, key: str, repeat: int = 0) -> int:
    """A seed below 2^63, of a run's ``seed``, the ``key`` of what is drawn, and its ``repeat``."""
    entropy = [seed, zlib.crc32(key.encode()), repeat]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _network(build: Callable[[], nn.Module], device: torch.device, seed: int) -> nn.Module | str:
    """A network, initialised on the device, or the reason why it could not be built."""
    devices = () if device.type == "cpu" else (device,)
    # A device as context calls Python for every operation.
    drawing = device if devices else nullcontext()
    with torch.random.fork_rng(devices, device_type=device.type), drawing:
        seed_generators(seed, device)
        try:
            model = build()
            found = {tensor.device for tensor in tensors_of(model)}
            if torch.device("meta") in found:
                return "the network is on the meta device, without weights; build it elsewhere"
            here = torch.empty(0, device=device).device  # with its index
            return model if found <= {here} else model.to(device)
        except MemoryError:
            raise
        except FAILURES as error:
            check_device(device)
            return fault(error)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of ``device``; ``torch.manual_seed`` seeds them all."""
    torch.default_generator.manual_seed(seed)
    if device.type not in ("cpu", "meta"):
        with torch.accelerator.device_index(device.index):
            torch.get_device_module(device).manual_seed(seed)


def _faults(
    proxies: Sequence[Proxy],
    values: Mapping[str, float | str],
    model: nn.Module,
    inputs: Inputs,
) -> dict[str, str]:
    """Reasons that replace the values of measures whose check rejects the network."""
    valid = [p for p in proxies if not isinstance(values[p.name], str)]
    reasons = {check: _fault(check, model, inputs) for check in {p.check for p in valid}}
    return {p.name: reason for p in valid if (reason := reasons[p.check])}


def _fault(
    check: Callable[[nn.Module, Inputs], str] | None, model: nn.Module, inputs: Inputs
) -> str:
    if check is None:
        return ""
    try:
        return check(model, inputs)
    except MemoryError:
        raise
    except FAILURES as error:
        log.info("no check %s: %s", check, fault(error))
        own = check.__module__.startswith("proxies.")  # one of ours rejects nothing then
        return "" if own else f"its check failed: {fault(error)}"


def _value_of(proxy: Proxy, model: nn.Module | str, inputs: Inputs) -> float | str:
    """The value of a measure, or the reason why it failed."""
    if isinstance(model, str):
        return model
    try:
        value = checked_value(proxy.value(model, inputs))
    except MemoryError:
        raise
    except FAILURES as error:
        check_device(inputs.images.device)
        return fault(error)
    return proxy.undefined if not isinstance(value, str) and math.isnan(value) else value


def checked_value(value: Any) -> float | str:
    """A measure's value, NaN if undefined, or the reason why it is invalid."""
    if math.isinf(value):
        return "the value is infinite"
    number = float(value)
    if abs(number) > LARGEST:
        return f"the value {number:g} is too large to be averaged; scale it below {LARGEST:g}"
    return number


@functools.lru_cache(maxsize=32)
def _random_circle(shape: tuple[int, ...], points: int, radius: Radius, seed: int) -> Circle:
    generator = torch.Generator().manual_seed(seed)
    return Circle.random(shape, points, radius=radius, generator=generator)


def _checked_images(images: Tensor | None, image_size: int | None, seed: int) -> Tensor:
    if images is None:
        side = 224 if image_size is None else image_size
        generator = torch.Generator().manual_seed(seed_for(seed, "images"))
        return torch.randn(16, 3, side, side, generator=generator)
    if not len(images) or images.shape[2:] != (image_size or images.shape[-1],) * 2:
        shape = tuple(images.shape)
        raise ValueError(f"images have shape {shape}; use one or more square ones of image_size")
    return images


def _checked_labels(labels: Tensor | None, images: int, seed: int) -> Tensor:
    if labels is None:
        generator = torch.Generator().manual_seed(seed_for(seed, "labels"))
        return torch.randint(1000, (images,), generator=generator)
    if labels.shape != (images,) or labels.is_floating_point():
        kind = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"labels are {kind} for {images} images; use one integer for each image")
    return labels.long()
