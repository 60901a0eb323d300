"""Registries of named objects; measures, their inputs, values of single repeats, and scores.

:mod:`proxies.catalogue` registers all measures. Nothing here needs torch.
"""

from __future__ import annotations

import math
import statistics
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, get_args

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

    The kind, such as ``"proxy"``, is for messages. ``entries`` is the module that registers the
    built-in entries; it is imported at the first look-up. ``code`` gives the function or class
    that defines an item, by default the item or its class.
    """

    def __init__(
        self,
        kind: str,
        items: Mapping[str, T] | None = None,
        *,
        entries: str | None = None,
        code: Callable[[T], Any] = lambda item: item,
    ) -> None:
        self.kind = kind
        self._code = code
        self._entries = entries
        self._items = dict(items or {})

    def register(self, name: str, item: T) -> T:
        """Add ``item`` under ``name`` and return it.

        It replaces an earlier definition of itself, as of a notebook's cell that runs again.

        Raises:
            ValueError: If the name is taken by another definition.
        """
        if name in self and not _same_definition(self._code(self[name]), self._code(item)):
            raise ValueError(f"{self.kind} {name!r} is already registered; use another name")
        self[name] = item
        return item

    def __missing__(self, name: str) -> T:
        """Raise an UnknownNameError, a KeyError and a ValueError."""
        raise UnknownNameError(unknown(self.kind, name, self))

    @property
    def data(self) -> dict[str, T]:  # type: ignore[override]
        """The entries, the built-in ones included."""
        if self._entries is not None:
            # At each look-up: other threads wait for an import that is under way, and one that was
            # interrupted is made up for. The import may look up names itself.
            import_module(self._entries)
        return self._items


@dataclass(frozen=True)
class Inputs:
    """Inputs of a measure besides the network.

    Example:
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        >>> images = torch.randn(4, 3, 32, 32)
        >>> circle = proxies.Circle.random((3, 32, 32), points=5)
        >>> labels = torch.arange(4)
        >>> inputs = proxies.Inputs(circle, images, labels, seed=1)
        >>> proxies.get_proxy("snip").value(network, inputs) > 0
        True
    """

    circle: Circle  #: circle of inputs
    images: Tensor  #: ``[n, C, H, W]``, on the network's device
    labels: Tensor  #: class of each image, ``[n]`` int64, on the network's device
    #: Seed of other random draws of a measure; equal for all architectures of a run, different in
    #: each repeat.
    seed: int = 0


@dataclass(frozen=True)
class Proxy:
    """A measure of a freshly initialised network.

    Raises:
        ValueError: If there is no such direction.

    Example:
        >>> proxies.get_proxy("ntk_condition_number").better
        'lower'
    """

    name: str  #: name to look it up by
    description: str  #: one line that describes it
    better: Better  #: which direction is better; "reported" measures are not used for ranking
    paper: str  #: source
    #: Computes the measure; NaN if it is undefined for the network.
    value: Callable[[nn.Module, Inputs], float]
    undefined: str = "the value is not finite"  #: why a value is NaN
    random: bool = True  #: whether it depends on the initial weights
    #: Computes the measure for several networks of one architecture in one vectorised pass, each
    #: with its own inputs (the images are shared); None if it cannot.
    together: Callable[[Sequence[nn.Module], Sequence[Inputs]], Sequence[float]] | None = None
    #: Returns why values of a network would be meaningless, or an empty text; see
    #: :mod:`proxies.samples`. Runs once for the first network of an architecture, for all measures
    #: with the same check that gave a number.
    check: Callable[[nn.Module, Inputs], str] | None = None
    #: Whether the measure itself fails where the check would, so that its number passes the check
    #: for all measures.
    checks_itself: bool = False
    #: Whether it is a time, which differs between machines and calls. Measured only if named, not
    #: among all measures.
    timed: bool = False

    def __post_init__(self) -> None:
        if self.better not in get_args(Better):
            directions = ", ".join(map(repr, get_args(Better)))
            raise ValueError(f"measure {self.name!r} has better={self.better!r}; use {directions}")


def _same_definition(first: Any, second: Any) -> bool:
    """Whether two functions, classes or objects of classes are one definition, run again.

    These have one name in one module. Those without names, or within functions, may be different
    ones, except in a notebook.
    """
    codes = [code.func if isinstance(code, partial) else code for code in (first, second)]
    named = [code if hasattr(code, "__qualname__") else type(code) for code in codes]
    places = {(code.__module__, code.__qualname__) for code in named}
    module, name = min(places)
    return len(places) == 1 and (module == "__main__" or "<" not in name)


#: All measures by name.
PROXIES: Registry[Proxy] = Registry(
    "proxy", entries="proxies.catalogue", code=lambda proxy: proxy.value
)


def register(proxy: Proxy) -> Proxy:
    """Register a measure under its name; an earlier definition of the same function is replaced.

    Raises:
        ValueError: If the name is taken by another one.
    """
    return PROXIES.register(proxy.name, proxy)


def standard_measures() -> tuple[str, ...]:
    """Names of all reproducible measures: the default where none is named."""
    return tuple(name for name, proxy in PROXIES.items() if not proxy.timed)


def get_proxy(name: str) -> Proxy:
    """Look up a measure.

    Raises:
        UnknownNameError: If the name is unknown; a KeyError and a ValueError.

    Example:
        >>> proxies.get_proxy("length_distortion").paper
        'As-ViT, arXiv:2202.11921'
    """
    return PROXIES[name]


@dataclass(frozen=True)
class Score:
    """A measure of an architecture over repeated initialisations.

    Example:
        >>> score = proxies.Score(value=2.0, std=0.5, values=(1.5, 2.5), better="higher")
        >>> score.valid
        True
    """

    value: float  #: mean over the repeats; NaN if any repeat failed
    std: float  #: sample standard deviation over the repeats, 0 for one repeat
    values: tuple[float, ...]  #: the repeats, in order
    better: Better  #: which direction is better
    reason: str = ""  #: why there is no value; empty if there is one

    @property
    def valid(self) -> bool:
        """Whether every repeat gave a finite value."""
        return math.isfinite(self.value)


@dataclass(frozen=True)
class Readings:
    """Results of some repeats for one architecture; see :func:`combine`.

    Example:
        >>> build = partial(timm.create_model, "vit_tiny_patch16_224", img_size=32, depth=2)
        >>> readings = proxies.measure_repeats(
        ...     build, ["naswot"], repeats=3, only=[0, 1], image_size=32
        ... )
        >>> sorted(readings.taken)
        [0, 1]
    """

    names: tuple[str, ...]  #: names of the requested measures
    repeats: int  #: total number of repeats
    #: Maps a repeat, from 0, and a measure to a finite value or the failure reason. A measure
    #: is missing after its first failure, and after repeat 0 if it does not depend on the initial
    #: weights.
    taken: Mapping[int, Mapping[str, float | str]]

    def to_json(self) -> dict[str, Any]:
        """The readings as JSON values; floats round-trip exactly."""
        return {
            "names": list(self.names),
            "repeats": self.repeats,
            "taken": {str(repeat): dict(values) for repeat, values in self.taken.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Readings from the result of :meth:`to_json`.

        Raises:
            ValueError: If ``stored`` has another form.
        """
        try:
            taken = {
                int(repeat): {
                    str(name): value if isinstance(value, str) else float(value)
                    for name, value in values.items()
                }
                for repeat, values in stored["taken"].items()
            }
            return cls(tuple(map(str, stored["names"])), int(stored["repeats"]), taken)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"stored readings {str(stored)[:60]!r} cannot be read; use what to_json returned"
            ) from error


def combine(parts: Iterable[Readings]) -> dict[str, Score]:
    """Combine the readings of all repeats, split in any way and in any order, to scores.

    Args:
        parts: Readings of the same measures and number of repeats; each repeat in one of them.

    Returns:
        A score for each measure, bit-identical to those of :func:`proxies.measure`.

    Raises:
        KeyError: If a measure is unknown.
        ValueError: If the parts are of different measurements, or a repeat is missing or
            duplicated.

    Example:
        >>> build = partial(timm.create_model, "vit_tiny_patch16_224", img_size=32, depth=2)
        >>> shares = [
        ...     proxies.measure_repeats(build, ["naswot"], repeats=2, only=[repeat], image_size=32)
        ...     for repeat in range(2)
        ... ]
        >>> len(proxies.combine(shares)["naswot"].values)
        2
    """
    parts = tuple(parts)  # such as an executor's map gives
    kinds = {(part.names, part.repeats) for part in parts}
    if len(kinds) != 1:
        raise ValueError(f"readings of {len(kinds)} measurements; combine those of one")
    ((names, repeats),) = kinds
    indices = [repeat for part in parts for repeat in part.taken]
    if twice := {repeat for repeat in indices if indices.count(repeat) > 1}:
        raise ValueError(f"repeat {min(twice)} is in two parts; give each repeat once")
    readings = {repeat: values for part in parts for repeat, values in part.taken.items()}
    return {name: _score(get_proxy(name), repeats, readings) for name in names}


def _score(proxy: Proxy, repeats: int, readings: Mapping[int, Mapping[str, float | str]]) -> Score:
    """Score of one measure from its values up to the first failure."""
    values: list[float] = []
    for repeat in range(repeats if proxy.random else 1):
        if proxy.name not in readings.get(repeat, {}):
            raise ValueError(f"{proxy.name} has no reading of repeat {repeat} of {repeats}")
        value = readings[repeat][proxy.name]
        if isinstance(value, str):
            reason = f"repeat {repeat + 1} of {repeats}: {value}"
            return Score(math.nan, math.nan, (*values, math.nan), proxy.better, reason)
        values.append(value)
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return Score(statistics.fmean(values), spread, tuple(values), proxy.better)
