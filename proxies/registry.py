"""What a measure is, and where it is looked up by name; :mod:`proxies.catalogue` has them all."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from proxies.circle import Circle

Better = Literal["higher", "lower", "reported"]


@dataclass(frozen=True)
class Inputs:
    """What a measure may look at besides the network.

    Args:
        circle: Circle of inputs.
        images: ``[n, C, H, W]``, on the network's device.
        labels: Class of each image, ``[n]`` int64, on the network's device.
        seed: For whatever else a measure draws; the same for all architectures of a run, another
            one in each repeat.
    """

    circle: Circle
    images: Tensor
    labels: Tensor
    seed: int = 0

    @property
    def image_size(self) -> int:
        """Pixels per side."""
        return self.images.shape[-1]


@dataclass(frozen=True)
class Proxy:
    """A measure of a freshly initialised network.

    Args:
        name: How it is asked for.
        description: One line for people.
        better: Which direction is better; "reported" measures rank nothing.
        paper: Where it is from.
        value: The measure itself; NaN where the network has none.
        undefined: What a NaN means.
        random: Whether it depends on the initial weights.
        together: The measure of several networks of one architecture in one vectorised pass, each
            with inputs of its own (the images are the same); ``None`` where there is no such way.
    """

    name: str
    description: str
    better: Better
    paper: str
    value: Callable[[nn.Module, Inputs], float]
    undefined: str = "the value is not finite"
    random: bool = True
    together: Callable[[Sequence[nn.Module], Sequence[Inputs]], Sequence[float]] | None = None


PROXIES: dict[str, Proxy] = {}


def register(proxy: Proxy) -> Proxy:
    """Add a measure under its name.

    Raises:
        ValueError: If the name is taken.
    """
    if proxy.name in PROXIES:
        raise ValueError(f"proxy {proxy.name!r} is already registered; use another name")
    PROXIES[proxy.name] = proxy
    return proxy


def get_proxy(name: str) -> Proxy:
    """Look a measure up.

    Raises:
        KeyError: If there is none of that name; the message has the nearest one.
    """
    if name in PROXIES:
        return PROXIES[name]
    near = difflib.get_close_matches(name, PROXIES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(PROXIES)}"
    raise KeyError(f"unknown proxy {name!r}; {hint}")
