"""Registries of named objects; measures, their inputs, values of single repeats, and scores.

Nothing here needs torch.
"""

from __future__ import annotations

import math
import statistics
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from inspect import cleandoc, signature
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

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
    """Objects of one kind by name; ``entries`` are modules that register the built-in ones."""

    def __init__(
        self, kind: str, items: Mapping[str, T] | None = None, *, entries: Iterable[str] = ()
    ) -> None:
        self.kind, self.entries = kind, list(entries)
        self._items = dict(items or {})
        self._definitions: dict[str, tuple[str, str]] = {}  # name -> module and name of its code

    def register(self, name: str, item: T, code: Any = None) -> T:
        """Add ``item`` under ``name`` and return it; a ValueError if another one has the name.

        It replaces an earlier definition of itself, as of a notebook's cell that runs again, by
        the function or class ``code`` that defines it, by default the item or its class.
        """
        code = item if code is None else code
        named: Any = code if hasattr(code, "__qualname__") else type(code)
        definition = (named.__module__, named.__qualname__)
        built_in = definition[0] in self.entries  # its module is being imported
        if not built_in and name in self and self._definitions.get(name) != definition:
            raise ValueError(f"{self.kind} {name!r} is already registered; use another name")
        self._definitions[name] = definition
        self._items[name] = item
        return item

    def __missing__(self, name: str) -> T:
        raise UnknownNameError(unknown(self.kind, name, self))

    @property
    def known(self) -> dict[str, T]:
        """The entries so far, without importing the modules of the built-in ones."""
        return dict(self._items)

    @property
    def data(self) -> dict[str, T]:  # type: ignore[override]
        """The entries, the built-in ones included."""
        for module in self.entries:  # at each look-up, as an import may have been interrupted
            import_module(module)
        return self._items


@dataclass(frozen=True)
class Inputs:
    """Inputs of a measure besides the network."""

    circle: Circle  #: circle of inputs
    images: Tensor  #: ``[n, C, H, W]``, on the network's device
    labels: Tensor  #: class of each image, ``[n]`` int64, on the network's device
    #: Seed of other random draws; equal for all architectures of a run, different in each repeat.
    seed: int = 0

    @property
    def noise(self) -> Tensor:
        """Standard normal noise in the shape of the images, float32, by the seed."""
        import torch  # not needed by what only reads scores

        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(self.images.shape, generator=generator).to(self.images.device)


_INPUTS = (*Inputs.__dataclass_fields__, "noise")


@dataclass(frozen=True)
class Proxy:
    """A measure of a freshly initialised network; a ValueError if there is no such direction."""

    name: str  #: name to look it up by
    description: str  #: one line that describes it
    better: Better  #: which direction is better; "reported" measures are not used for ranking
    paper: str  #: source
    #: Computes the measure; NaN if it is undefined for the network.
    value: Callable[[nn.Module, Inputs], float]
    undefined: str = "the value is not finite"  #: why a value is NaN
    random: bool = True  #: whether it depends on the initial weights
    #: Returns why values of a network would be meaningless, or an empty text. Runs once for the
    #: first network of an architecture, for all measures with the same check that gave a number.
    check: Callable[[nn.Module, Inputs], str] | None = None
    timed: bool = False  #: whether it is a time, which is measured only where it is named

    def __post_init__(self) -> None:
        if self.better not in get_args(Better):
            directions = ", ".join(map(repr, get_args(Better)))
            raise ValueError(f"measure {self.name!r} has better={self.better!r}; use {directions}")


#: All measures by name.
PROXIES: Registry[Proxy] = Registry(
    "proxy",
    entries=[
        *("proxies.expansion", "proxies.ntk", "proxies.activations", "proxies.structure"),
        *("proxies.saliency", "proxies.az_nas"),
    ],
)

F = TypeVar("F", bound=Callable[..., float])


def register_measure(
    description: str,
    *,
    name: str = "",
    better: Better = "higher",
    paper: str = "none",
    undefined: str = "the value is not finite",
    random: bool = True,
    check: Callable[[nn.Module, Inputs], str] | None = None,
    timed: bool = False,
) -> Callable[[F], F]:
    """Register a function as a measure; an earlier definition of the same function is replaced.

    The function takes a network and those of the :class:`Inputs` that its parameters name, and
    returns a number. Arguments as the fields of :class:`Proxy`; the name is by default that of
    the function. A ValueError if another function has the name, or there is no such direction or
    input.

    Example:
        >>> @proxies.register_measure("mean of the outputs", better="reported")
        ... def mean_output(model, images):
        ...     return float(model(images).mean())
        >>> proxies.PROXIES.pop("mean_output").better
        'reported'
    """

    def decorator(function: F) -> F:
        _, *parameters = signature(function).parameters.values()
        names = [parameter.name for parameter in parameters if parameter.name in _INPUTS]
        for parameter in parameters:
            if parameter.name not in names and parameter.default is parameter.empty:
                raise ValueError(
                    f"measure {function.__name__!r} takes {parameter.name!r}, which is no input; "
                    f"use {', '.join(_INPUTS)}"
                )

        @wraps(function)
        def value(model: nn.Module, inputs: Inputs) -> float:
            return float(function(model, **{field: getattr(inputs, field) for field in names}))

        named, terms = name or function.__name__, (undefined, random, check, timed)
        proxy = Proxy(named, description, better, paper, value, *terms)
        PROXIES.register(named, proxy, function)
        text = cleandoc(function.__doc__ or f"{description}.")
        function.__doc__ = f"{text}\n\nSource: {paper}."
        return function

    return decorator


def standard_measures() -> tuple[str, ...]:
    """Names of all measures but times: the default where none is named."""
    return tuple(name for name, proxy in PROXIES.items() if not proxy.timed)


def get_proxy(name: str) -> Proxy:
    """Look up a measure; an UnknownNameError, a KeyError and a ValueError, if there is none."""
    return PROXIES[name]


@dataclass(frozen=True)
class Score:
    """A measure of an architecture over repeated initialisations."""

    value: float  #: mean over the repeats; NaN if any repeat failed
    std: float  #: sample standard deviation over the repeats, 0 for one repeat
    values: tuple[float, ...]  #: the repeats, in order
    better: Better  #: which direction is better
    reason: str = ""  #: why there is no value; empty if there is one

    @property
    def valid(self) -> bool:
        """Whether every repeat gave a finite value."""
        return math.isfinite(self.value)


def combine(
    names: Iterable[str], repeats: int, readings: Mapping[int, Mapping[str, float | str]]
) -> dict[str, Score]:
    """Scores from the results of :func:`proxies.measure_repeats` for all repeats, in any order.

    A ValueError if a repeat is missing.
    """
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
