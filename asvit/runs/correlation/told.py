"""What the result of a search or a scaling holds of a reference table, read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from asvit._types import is_of
from proxies.messages import shown


class Measure(TypedDict):
    """How well one measure ranks the table; None for what is not known."""

    measure: str
    better: str
    n: int
    dropped: int
    tau: float | None
    tau_interval: Sequence[float | None]
    difference: float | None
    difference_interval: Sequence[float | None]
    reason: str


class Reliability(TypedDict):
    """As :func:`asvit.runs.correlation.reliability.reliability` gives it."""

    reference: str
    digest: str
    target: str
    description: str
    noise_ceiling: float | None
    rows: int
    folder: str
    measures: Sequence[Measure]
    best_count: Measure | None


def reliability_from_json(content: object) -> Mapping[str, Any] | None:
    """What stands under ``reliability`` in result.json; None where nothing does.

    Raises:
        ValueError: If it is something else.
    """
    if not is_of(content, Reliability | None):
        raise ValueError(f"reliability may not be {shown(content)}")
    told = cast("Reliability | None", content)
    if told is None:
        return None
    for one in (*told["measures"], *([told["best_count"]] if told["best_count"] else [])):
        for ends in (one["tau_interval"], one["difference_interval"]):
            if len(ends) != 2:
                raise ValueError(f"an interval has two ends, not {len(ends)}")
    return cast("Mapping[str, Any]", told)
