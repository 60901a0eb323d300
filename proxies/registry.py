"""Registries of named objects, and measures; :mod:`proxies.catalogue` registers all measures."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, TypeVar

from proxies.messages import unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from proxies.expansion import Circle

T = TypeVar("T")

Better = Literal["higher", "lower", "reported"]


class UnknownNameError(KeyError, ValueError):
    """No entry has this name; the message suggests the nearest one."""

    def __str__(self) -> str:
        return str(self.args[0])


class Registry(UserDict[str, T]):
    """Objects of one kind by name, in order of registration.

    Args:
        kind: What the objects are, for messages: ``"proxy"``.
        things: Initial entries.
        entries: Module that registers the built-in entries; imported at the first look-up.
    """

    def __init__(
        self, kind: str, things: Mapping[str, T] | None = None, *, entries: str | None = None
    ) -> None:
        self.kind = kind
        self._entries = entries
        self._things = dict(things or {})

    def register(self, name: str, thing: T) -> T:
        """Add ``thing`` under ``name`` and return it.

        Raises:
            ValueError: If the name is taken.
        """
        if name in self:
            raise ValueError(f"{self.kind} {name!r} is already registered; use another name")
        self[name] = thing
        return thing

    def __missing__(self, name: str) -> T:
        """Raise an UnknownNameError, a KeyError and a ValueError."""
        raise UnknownNameError(unknown(self.kind, name, self))

    @property
    def data(self) -> dict[str, T]:  # type: ignore[override]
        """The entries, the built-in ones included."""
        if self._entries is not None:
            module, self._entries = self._entries, None  # the import may look up names itself
            import_module(module)
        return self._things


@dataclass(frozen=True)
class Inputs:
    """Inputs of a measure besides the network.

    Args:
        circle: Circle of inputs.
        images: ``[n, C, H, W]``, on the network's device.
        labels: Class of each image, ``[n]`` int64, on the network's device.
        seed: Seed of other random draws of a measure; equal for all architectures of a run,
            different in each repeat.
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
        name: Name to look it up by.
        description: One line that describes it.
        better: Which direction is better; "reported" measures are not used for ranking.
        paper: Source.
        value: Computes the measure; NaN if it is undefined for the network.
        undefined: Why a value is NaN.
        random: Whether it depends on the initial weights.
        together: Computes the measure for several networks of one architecture in one vectorised
            pass, each with its own inputs (the images are shared); None if there is no such way.
    """

    name: str
    description: str
    better: Better
    paper: str
    value: Callable[[nn.Module, Inputs], float]
    undefined: str = "the value is not finite"
    random: bool = True
    together: Callable[[Sequence[nn.Module], Sequence[Inputs]], Sequence[float]] | None = None


#: All measures by name.
PROXIES: Registry[Proxy] = Registry("proxy", entries="proxies.catalogue")


def register(proxy: Proxy) -> Proxy:
    """Register a measure under its name.

    Raises:
        ValueError: If the name is taken.
    """
    return PROXIES.register(proxy.name, proxy)


def get_proxy(name: str) -> Proxy:
    """Look up a measure.

    Raises:
        UnknownNameError: If there is none of this name; a KeyError and a ValueError.
    """
    return PROXIES[name]
