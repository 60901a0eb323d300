"""What a reference table says of measures, as tables for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asvit.console import MISSING, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from asvit.reference import Target
    from asvit.reference.findings import Finding
    from asvit.runs.correlation.result import CorrelationResult

_COLUMNS = (
    *("n", "dropped", "τ [95 %]", "Spearman", "weighted τ", "partial τ", "τ − count's"),
    *("τ in params bands", "τ in MACs bands", "regret 1 5 10"),
)
_LEGEND = """\
[95 %]: bootstrap intervals; partial τ: given params; τ − count's: to the best count's on the same
rows; bands: thirds of the rows by size, from the smallest; regret: what the best of the 1, 5 and
10 ranked highest lacks to the best of all, in points of accuracy"""


def show_result(result: CorrelationResult, screen: Console) -> None:
    """Write a table a target on ``screen``, what it comes to, and where everything is."""
    from asvit.reference.findings import verdict

    for target in result.targets:
        found = [one for one in result.correlations if one.target == target.name]
        screen.print()
        for part in _tables(found, _heading(result, target), screen):
            screen.print(part)
        for one in found:
            if one.correlation.reason:
                screen.print(f"{one.measure}: {one.correlation.reason}")
        screen.print(verdict(found))
    left_out = "".join(f"; {count} {why}" for why, count in result.excluded.items())
    failed = sum(1 for reason in result.values.reasons if reason)
    reasons = f"; {failed} with a failed measure (reasons in values.csv)" if failed else ""
    screen.print(f"{result.rows} architectures of {result.reference}{left_out}{reasons}")
    screen.print(_LEGEND)
    files = "report.html, values.csv, correlations.csv, result.json, figures"
    screen.print(f"folder: {result.folder} ({files})")


def _heading(result: CorrelationResult, target: Target) -> str:
    ceiling = target.noise_ceiling
    known_ceiling = "" if ceiling is None else f"; noise ceiling {ceiling:.3f}"
    return f"{result.reference}, {target.name}: {target.description}{known_ceiling}"


def _tables(found: Sequence[Finding], title: str, screen: Console) -> list[Table]:
    """The findings of a target, the counts above the line; several tables on a narrow screen."""
    cells = [_cells(one) for one in found]
    counts = sum(one.trivial for one in found)
    wide = screen.options.update(width=1000)

    def made(columns: Sequence[str], title: str | None) -> Table:
        return table(
            ["measure", *columns],
            [
                [one.measure, *(row[name] for name in columns)]
                for one, row in zip(found, cells, strict=True)
            ],
            title=title,
            left=("measure",),
            rule=counts if counts < len(found) else 0,
        )

    tables: list[list[str]] = [[]]
    for column in _COLUMNS:
        more = [*tables[-1], column]
        if tables[-1] and screen.measure(made(more, None), options=wide).maximum > screen.width:
            tables.append([column])
        else:
            tables[-1] = more
    return [made(columns, None if place else title) for place, columns in enumerate(tables)]


def _cells(one: Finding) -> dict[str, object]:
    """The columns of a finding."""
    it = one.correlation
    apart = it.difference_interval
    bands = {
        count: " ".join(_rounded(band.tau, 2) for band in it.in_bands if band.count == count)
        for count in ("params", "macs")
    }
    numbers: list[object] = [
        it.n,
        it.dropped,
        _with_interval(it.tau, it.tau_interval.low, it.tau_interval.high),
        _rounded(it.spearman),
        _rounded(it.weighted_tau),
        _rounded(it.partial_tau),
        _with_interval(it.difference, apart.low, apart.high, sign="+"),
        bands["params"],
        bands["macs"],
        " ".join(_rounded(points, 2) for points in it.regret.values()),
    ]
    return dict(zip(_COLUMNS, numbers, strict=True))


def _rounded(value: float, digits: int = 3, sign: str = "") -> str:
    """A number with so many decimals; a dash where there is none."""
    return MISSING if math.isnan(value) else f"{value:{sign}.{digits}f}"


def _with_interval(value: float, low: float, high: float, sign: str = "") -> str:
    told = _rounded(value, sign=sign)
    return told if math.isnan(low) else f"{told} [{low:{sign}.2f}, {high:{sign}.2f}]"


def show_reliability(told: Mapping[str, Any], screen: Console) -> None:
    """Write on ``screen`` how well the measures of a search or a scaling rank a table.

    Args:
        told: The ``reliability`` of its result.json.
        screen: Where to.
    """
    best = told["best_count"]
    cells = [
        [
            one["measure"],
            one["n"],
            one["dropped"],
            _of_json(one["tau"], one["tau_interval"]),
            _of_json(one["difference"], one["difference_interval"], sign="+"),
        ]
        for one in (*told["measures"], *([best] if best else []))
    ]
    ceiling = told["noise_ceiling"]
    known_ceiling = "" if ceiling is None else f"; noise ceiling {ceiling:.3f}"
    screen.print()
    screen.print(
        table(
            ["measure", "n", "dropped", "τ [95 %]", "τ − count's"],
            cells,
            title=f"How the measures rank {told['reference']}, {told['target']}{known_ceiling}",
            left=("measure",),
            rule=len(told["measures"]),
        )
    )


def _of_json(value: float | None, interval: Sequence[float | None], sign: str = "") -> str:
    low, high = (math.nan if end is None else end for end in interval)
    return _with_interval(math.nan if value is None else value, low, high, sign)
