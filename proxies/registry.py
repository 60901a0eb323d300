"""Every measure by name."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from proxies.circle import Circle
from proxies.counts import count
from proxies.expansion import extrinsic_curvature, gauss_map_length, length_distortion
from proxies.ntk import ntk_condition_number

Better = Literal["higher", "lower", "reported"]

EXPANSION_PAPER = "As-ViT, arXiv:2202.11921"
CURVATURE_PAPER = "Poole et al. 2016, arXiv:1606.05340"


@dataclass(frozen=True)
class Inputs:
    """What a measure may look at besides the network.

    Args:
        circle: Circle of inputs.
        images: ``[n, C, H, W]``, on the network's device.
    """

    circle: Circle
    images: Tensor

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
    """

    name: str
    description: str
    better: Better
    paper: str
    value: Callable[[nn.Module, Inputs], float]
    undefined: str = "the value is not finite"
    random: bool = True


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


register(
    Proxy(
        "length_distortion",
        "manifold expansion L^E: how much the network lengthens a circle of inputs",
        "higher",
        EXPANSION_PAPER,
        lambda model, inputs: length_distortion(model, inputs.circle),
    )
)
register(
    Proxy(
        "ntk_condition_number",
        "condition number κ_Θ of the neural tangent kernel of a batch",
        "lower",
        EXPANSION_PAPER,
        lambda model, inputs: ntk_condition_number(model, inputs.images),
        undefined="the kernel is singular",
    )
)
register(
    Proxy(
        "extrinsic_curvature",
        "curvature κ of the feature curve, integrated over the circle's angle",
        "reported",
        CURVATURE_PAPER,
        lambda model, inputs: inputs.circle.integrate(extrinsic_curvature(model, inputs.circle)),
    )
)
register(
    Proxy(
        "gauss_map_length",
        "Gauss-map length L^G: how far the feature curve's unit tangent travels",
        "reported",
        CURVATURE_PAPER,
        lambda model, inputs: gauss_map_length(model, inputs.circle),
    )
)
register(
    Proxy(
        "params",
        "number of parameters, the first trivial rival",
        "higher",
        "none",
        lambda model, inputs: float(count(model, inputs.image_size).params),
        random=False,
    )
)
register(
    Proxy(
        "macs",
        "multiply-adds of convolutions, linear layers and matrix products, batch 1",
        "higher",
        "none",
        lambda model, inputs: float(count(model, inputs.image_size).macs),
        random=False,
    )
)
