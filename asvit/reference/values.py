"""``values.csv``: the accuracies, counts and measures of a table's rows, and why some failed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from proxies.messages import first_line, shown

ACCURACY = "accuracy:"  # before the name of a target in the header
_BEFORE = ["architecture", "image_size"]
_AFTER = ["reason"]


@dataclass(frozen=True)
class Values:
    """The values of the measured rows, column by column.

    Attributes:
        architectures: The text of each row's architecture.
        image_sizes: Sides of the images that the rows were measured on, in pixels.
        accuracies: Target to accuracies in per cent; NaN where there is none.
        measures: Measure or rank sum to values; NaN where it failed.
        reasons: Why measures of a row failed, in one line; empty where none did.
    """

    architectures: tuple[str, ...] = ()
    image_sizes: tuple[int, ...] = ()
    accuracies: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    measures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    def to_csv(self) -> str:
        """The content of values.csv; numbers have all their digits."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        targets = [f"{ACCURACY}{name}" for name in self.accuracies]
        writer.writerow([*_BEFORE, *targets, *self.measures, *_AFTER])
        numbers = zip(*self.accuracies.values(), *self.measures.values(), strict=True)
        for text, size, row, reason in zip(
            self.architectures, self.image_sizes, numbers, self.reasons, strict=True
        ):
            writer.writerow([text, size, *map(repr, row), reason])
        return buffer.getvalue()

    @classmethod
    def from_csv(cls, text: str) -> Self:
        """Undo :meth:`to_csv`.

        Raises:
            ValueError: If it is malformed; the message names the line.
        """
        reader = csv.reader(io.StringIO(text))
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise ValueError(f"not a table of values: {error}") from error
        columns = header[len(_BEFORE) : -len(_AFTER)]
        if header != [*_BEFORE, *columns, *_AFTER]:
            raise ValueError(f"not a table of values: its columns are {shown(header)}")
        try:
            rows = [_row(cells, len(header)) for cells in reader]
        except (ValueError, csv.Error) as error:
            raise ValueError(f"line {reader.line_num}: {first_line(error)}") from error
        numbers = (
            zip(*(row for _, _, row, _ in rows), strict=True) if rows else [()] * len(columns)
        )
        found = dict(zip(columns, numbers, strict=True))
        return cls(
            architectures=tuple(text for text, *_ in rows),
            image_sizes=tuple(size for _, size, *_ in rows),
            accuracies={
                name.removeprefix(ACCURACY): column
                for name, column in found.items()
                if name.startswith(ACCURACY)
            },
            measures={n: column for n, column in found.items() if not n.startswith(ACCURACY)},
            reasons=tuple(reason for *_, reason in rows),
        )


def _row(cells: Sequence[str], width: int) -> tuple[str, int, list[float], str]:
    if len(cells) != width:
        raise ValueError(f"{len(cells)} cells under a header of {width}")
    text, size, *numbers, reason = cells
    return text, int(size), [float(number) for number in numbers], reason
