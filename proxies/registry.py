"""Things by name, and what a measure is; :mod:`proxies.catalogue` has all measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, TypeVar

from proxies.messages import unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from proxies.circle import Circle

T = TypeVar("T")

Better = Literal["higher", "lower", "reported"]


class UnknownNameError(KeyError, ValueError):
    """There is nothing of this name; the message has the nearest one."""

    def __str__(self) -> str:
        return str(self.args[0])


class Registry(MutableMapping[str, T]):
    """Things of one kind by their names, in the order in which they were registered.

    Args:
        kind: What they are, for messages: ``"proxy"``.
        things: Those that are there from the beginning.
        entries: Module whose import registers ours; imported when a name is first looked up.
    """

    def __init__(
        self, kind: str, things: Mapping[str, T] | None = None, *, entries: str | None = None
    ) -> None:
        self.kind = kind
        self._entries = entries
        self._things = dict(things or {})

    def register(self, name: str, thing: T) -> T:
        """Add ``thing`` under ``name``, and return it.

        Raises:
            ValueError: If the name is taken.
        """
        things = self._loaded()
        if name in things:
            raise ValueError(f"{self.kind} {name!r} is already registered; use another name")
        things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        """The thing called ``name``.

        Raises:
            UnknownNameError: If there is none; a KeyError and a ValueError.
        """
        things = self._loaded()
        if name not in things:
            raise UnknownNameError(unknown(self.kind, name, things))
        return things[name]

    def __setitem__(self, name: str, thing: T) -> None:
        self._loaded()[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._loaded()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._loaded()

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def _loaded(self) -> dict[str, T]:
        if self._entries is not None:
            module, self._entries = self._entries, None  # it may look up names while it registers
            import_module(module)
        return self._things


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


#: Every measure by its name.
PROXIES: Registry[Proxy] = Registry("proxy", entries="proxies.catalogue")


def register(proxy: Proxy) -> Proxy:
    """Add a measure under its name.

    Raises:
        ValueError: If the name is taken.
    """
    return PROXIES.register(proxy.name, proxy)


def get_proxy(name: str) -> Proxy:
    """Look a measure up.

    Raises:
        UnknownNameError: If there is none of that name; a KeyError and a ValueError.
    """
    return PROXIES[name]
