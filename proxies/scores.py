"""Values of single repeats, which may be measured anywhere, and the scores they combine to."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from proxies.registry import Better, Proxy, get_proxy


@dataclass(frozen=True)
class Score:
    """A measure of an architecture over repeated initialisations.

    Args:
        value: Mean over the repeats; NaN if any repeat failed.
        std: Sample standard deviation over the repeats, 0 for one repeat.
        values: The repeats, in order.
        better: Which direction is better.
        reason: Why there is no value; empty if there is one.
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


@dataclass(frozen=True)
class Readings:
    """Results of some repeats of measuring one architecture; see :func:`combine`.

    Args:
        names: Names of the requested measures.
        repeats: Total number of repeats.
        taken: Maps a repeat, from 0, and a measure to a finite value or the reason of a failure. A
            measure is missing after its first failure, and after repeat 0 if it does not depend on
            the initial weights.
    """

    names: tuple[str, ...]
    repeats: int
    taken: Mapping[int, Mapping[str, float | str]]

    def to_json(self) -> dict[str, Any]:
        """The readings as JSON values; floats round-trip exactly."""
        return {
            "names": list(self.names),
            "repeats": self.repeats,
            "taken": {str(repeat): dict(found) for repeat, found in self.taken.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Readings from what :meth:`to_json` returned.

        Raises:
            ValueError: If ``stored`` has another form.
        """
        try:
            taken = {
                int(repeat): {
                    str(name): what if isinstance(what, str) else float(what)
                    for name, what in found.items()
                }
                for repeat, found in stored["taken"].items()
            }
            return cls(tuple(map(str, stored["names"])), int(stored["repeats"]), taken)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"stored readings {str(stored)[:60]!r} cannot be read; use what to_json returned"
            ) from error


def combine(parts: Sequence[Readings]) -> dict[str, Score]:
    """Combine the readings of all repeats, split in any way and in any order, to scores.

    Args:
        parts: Readings of the same measures and number of repeats; each repeat in one of them.

    Returns:
        A score for each measure, bit-identical to those of :func:`proxies.measure`.

    Raises:
        KeyError: If a measure is unknown.
        ValueError: If the parts are of different measurements, or a repeat is missing or
            duplicated.
    """
    kinds = {(part.names, part.repeats) for part in parts}
    if len(kinds) != 1:
        raise ValueError(f"readings of {len(kinds)} measurements; combine those of one")
    ((names, repeats),) = kinds
    taken = [repeat for part in parts for repeat in part.taken]
    if twice := {repeat for repeat in taken if taken.count(repeat) > 1}:
        raise ValueError(f"repeat {min(twice)} is in two parts; give each repeat once")
    found = {repeat: values for part in parts for repeat, values in part.taken.items()}
    return {name: _score(get_proxy(name), repeats, found) for name in names}


def _score(proxy: Proxy, repeats: int, found: Mapping[int, Mapping[str, float | str]]) -> Score:
    """Score of one measure from its values up to the first failure."""
    values: list[float] = []
    for repeat in range(repeats if proxy.random else 1):
        if proxy.name not in found.get(repeat, {}):
            raise ValueError(f"{proxy.name} has no reading of repeat {repeat} of {repeats}")
        what = found[repeat][proxy.name]
        if isinstance(what, str):
            reason = f"repeat {repeat + 1} of {repeats}: {what}"
            return Score(math.nan, math.nan, (*values, math.nan), proxy.better, reason)
        values.append(what)
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return Score(statistics.fmean(values), spread, tuple(values), proxy.better)
