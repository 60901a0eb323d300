"""What reports take from result.json, by kind of run; anything else in its place is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from asvit._records import MALFORMED
from asvit._types import check_values
from proxies.messages import first_line

Values = Mapping[str, float | None]
Texts = Mapping[str, Any]


class _Spread(TypedDict):
    paths: int
    lowest: float
    median: float
    highest: float


class _Parts(TypedDict):
    validation: _Spread
    test: _Spread


class _Random(TypedDict):
    in_window: _Parts
    anywhere: _Parts


class _Generation(TypedDict):
    generation: int
    paths: int
    best: float
    median: float
    best_so_far: float


class _Supernet(TypedDict):
    folder: str


class _Evolving(TypedDict):
    seed: int
    max_macs: int


class _Retrained(TypedDict):
    accuracy: float | None
    reason: str


class OfEvolution(TypedDict):
    """Of an evolution over a supernet."""

    space: str
    architecture: str
    params: int
    macs: int
    validation: float
    test: float
    random: _Random
    generations: Sequence[_Generation]
    evaluated: int
    reason: str
    retrained: _Retrained | None
    supernet: _Supernet
    settings: _Evolving
    wall_seconds: float


class _Told(TypedDict):
    measure: str
    n: int
    dropped: int
    tau: float | None
    tau_interval: Sequence[float | None]
    difference: float | None
    difference_interval: Sequence[float | None]
    reason: str


class _Reliability(TypedDict):
    reference: str
    target: str
    description: str
    noise_ceiling: float | None
    rows: int
    folder: str
    measures: Sequence[_Told]
    best_count: _Told | None


# What a result may lack.
_COMMON: Mapping[str, Any] = {
    "images": Texts | None,
    "versions": Texts | None,
    "command": str | Sequence[str] | None,
    "reliability": _Reliability | None,
}


def check_result(result: Mapping[str, Any], declared: type, path: Path) -> None:
    """Check that a report can be made of a result.

    Args:
        result: Content of result.json.
        declared: What it has to hold: one of the classes of this module.
        path: The file, for messages.

    Raises:
        ValueError: If something is missing in it, or is something else.
    """
    try:
        check_values(result, get_type_hints(declared))
        check_values({name: result.get(name) for name in _COMMON}, _COMMON)
        told = result.get("reliability") or {"measures": [], "best_count": None}
        for one in (*told["measures"], *filter(None, [told["best_count"]])):
            check_values(_ends(one), dict.fromkeys(_ends(one), tuple[float | None, float | None]))
    except KeyError as error:
        raise ValueError(f"{path} has no {error}") from error
    except MALFORMED as error:
        raise ValueError(f"{path}: {first_line(error)}") from error


def _ends(told: Mapping[str, Any]) -> dict[str, tuple[float | None, ...]]:
    return {name: tuple(told[name]) for name in ("tau_interval", "difference_interval")}
