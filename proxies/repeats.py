"""Repeats of a measurement: networks made from seeds, and measures taken of them."""

import functools
import logging
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from proxies.circle import Circle, Radius
from proxies.errors import first_line
from proxies.registry import Inputs, Proxy

log = logging.getLogger(__name__)

# A measure that fails says so by one of these; anything else is a bug and goes up. Third-party
# models assert on image sizes.
_FAILURES = (ValueError, RuntimeError, AssertionError)


def seed_for(seed: int, key: str, repeat: int = 0) -> int:
    """Seed of one repeat of one thing: by identity, so that order and workers do not matter."""
    entropy = [seed, zlib.crc32(key.encode()), repeat]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass(frozen=True)
class Setting:
    """What networks are made and measured with, by repeat."""

    build: Callable[[], nn.Module]
    key: str
    seed: int
    images: Tensor
    labels: Tensor
    points: int
    radius: Radius

    def inputs(self, repeat: int) -> Inputs:
        """What measures look at: of all architectures the same."""
        shape, circle_seed = tuple(self.images.shape[1:]), seed_for(self.seed, "circle", repeat)
        circle = _circle(shape, self.points, self.radius, circle_seed)
        return Inputs(circle, self.images, self.labels, seed_for(self.seed, "measure", repeat))

    def fresh(self, repeat: int) -> nn.Module | str:
        """A network, drawn where it will be measured, or the reason why there is none."""
        device = self.images.device
        accelerators = [] if device.type == "cpu" else [device]
        with torch.random.fork_rng(accelerators, device_type=device.type), torch.device(device):
            torch.manual_seed(seed_for(self.seed, self.key, repeat))
            try:
                return self.build().to(device)
            except _FAILURES as error:
                return first_line(error)


def take_repeats(
    proxies: Sequence[Proxy], setting: Setting, chosen: Sequence[int], *, together: bool
) -> dict[int, dict[str, float | str]]:
    """Repeat -> measure -> value or reason, of those that are due."""
    fresh = functools.cache(setting.fresh) if together else setting.fresh
    ready: dict[str, dict[int, float]] = {}
    if together:
        models, inputs = [fresh(r) for r in chosen], [setting.inputs(r) for r in chosen]
        found = _take_together(proxies, models, inputs)
        ready = {name: dict(zip(chosen, values, strict=True)) for name, values in found.items()}
    taken: dict[int, dict[str, float | str]] = {}
    failed: set[str] = set()
    for repeat in chosen:
        due = [p for p in proxies if p.name not in failed and (p.random or repeat == 0)]
        if not due:
            continue
        model, own = fresh(repeat), setting.inputs(repeat)
        taken[repeat] = {
            p.name: ready[p.name][repeat] if p.name in ready else _take(p, model, own) for p in due
        }
        failed |= {name for name, what in taken[repeat].items() if isinstance(what, str)}
    return taken


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


@functools.lru_cache(maxsize=32)
def _circle(shape: tuple[int, ...], points: int, radius: Radius, seed: int) -> Circle:
    generator = torch.Generator().manual_seed(seed)
    return Circle.random(shape, points, radius=radius, generator=generator)
