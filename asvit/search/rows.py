"""``trials.csv``: one row per measured architecture, the same bytes for the same search."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asvit.core.codec import Nullable
from asvit.core.files import write_text
from proxies.messages import first_line, shown

State = Literal["complete", "failed"]

_BEFORE = ["number", "architecture", "params", "macs"]
_AFTER = ["reward", "entropy", "state", "reason"]


@dataclass(frozen=True)
class TrialRow:
    """One measured architecture.

    Attributes:
        number: Place among the measured trials, from 0.
        architecture: Its text.
        params: Parameters.
        macs: Multiply-adds of one image.
        values: Measure to value; NaN where it failed.
        reward: Windowed change of the objectives, dimensionless; a failure counts in it as the
            worst value seen so far.
        entropy: Joint entropy in nats of the policy that drew it; NaN without a policy.
        state: ``"failed"`` if any of its measures failed.
        reason: Why, else empty.
    """

    number: int
    architecture: str
    params: int
    macs: int
    values: Mapping[str, Nullable]
    reward: Nullable
    entropy: Nullable
    state: State
    reason: str


def without_sizes(measures: Iterable[str]) -> list[str]:
    """The measures that need a column of their own: all but params and macs."""
    return [name for name in measures if name not in _BEFORE]


def write_trials(path: Path, rows: Sequence[TrialRow], measures: Sequence[str]) -> None:
    """Write ``rows`` to ``path`` as a whole or not at all.

    Args:
        path: The CSV file.
        rows: Rows in order.
        measures: Names of the measures, in the order of their columns. Those that are the size of
            the architecture have their column anyway.

    Raises:
        OSError: If the file cannot be written; an old one is then unchanged.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = without_sizes(measures)
    writer.writerow([*_BEFORE, *columns, *_AFTER])
    for row in rows:
        values = [row.values[name] for name in columns]
        writer.writerow(
            [row.number, row.architecture, row.params, row.macs]
            + [repr(float(v)) for v in (*values, row.reward, row.entropy)]
            + [row.state, row.reason]
        )
    write_text(path, buffer.getvalue())


def read_trials(path: Path, measures: Sequence[str] = ()) -> list[TrialRow]:
    """Read the rows of ``path``.

    Args:
        path: The CSV file.
        measures: Names of the measures, where they are known: params and macs are columns of
            every table, whether they were among the measures or not.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a table of trials; the message names the line.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise ValueError(f"{path} is not a table of trials: {error}") from error
        columns = header[len(_BEFORE) : -len(_AFTER)]
        if header != [*_BEFORE, *columns, *_AFTER]:
            raise ValueError(f"{path} is not a table of trials: its columns are {shown(header)}")
        try:
            return [_row(cells, columns, measures) for cells in reader]
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {first_line(error)}") from error


def _row(cells: Sequence[str], columns: Sequence[str], measures: Sequence[str]) -> TrialRow:
    number, architecture, params, macs, *numbers, state, reason = cells
    *values, reward, entropy = (float(cell) for cell in numbers)
    if state not in ("complete", "failed"):
        raise ValueError(f"state must be 'complete' or 'failed', got {shown(state)}")
    sizes = {"params": float(params), "macs": float(macs)}
    return TrialRow(
        number=int(number),
        architecture=architecture,
        params=int(params),
        macs=int(macs),
        values={
            **dict(zip(columns, values, strict=True)),
            **{name: size for name, size in sizes.items() if name in measures},
        },
        reward=reward,
        entropy=entropy,
        state="failed" if state == "failed" else "complete",
        reason=reason,
    )
