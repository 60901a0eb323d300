"""Studies: cases that are computed once each, stored row by row, and compared with intervals.

A study is a short file: a dataclass of its rows, the function that computes one, the cases, and
the tables of the rows; see ``compare_weights.py``.

Its command computes what the CSV file lacks (``--jobs 4`` in four processes, ``--only
pictures=digits`` some of it) and prints the tables; with ``--print`` it only prints. A row is
stored as soon as it is known, so a stopped study continues when the command is run again.
Commands for different cases may share a file at the same time.
"""

import argparse
import itertools
import math
import multiprocessing
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from asvit.core.estimates import Estimate
from asvit.statistics.intervals import contrast
from experiments.tables import R, markdown, read_rows, write_rows
from experiments.variance import Component

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Case = Mapping[str, Any]  # column to value; the columns that identify a row


def cases(**factors: Iterable[object]) -> list[Case]:
    """Every combination of levels; those of the last factor change fastest."""
    levels = itertools.product(*factors.values())
    return [dict(zip(factors, chosen, strict=True)) for chosen in levels]


@dataclass
class Study(Generic[R]):
    """What is compared, and the file of its rows.

    Attributes:
        row: Dataclass of a row, of texts and numbers: first what identifies it, then its values.
        table: CSV file, in the order in which values come up in ``cases``; a command line may
            name another.
        cases: All cases.
        measure: Computes the values of a case, given as keywords. For several processes it is a
            function of a module.
        repeat: A column, such as the seed: every case is computed once before any is repeated.
    """

    row: type[R]
    table: Path
    cases: Sequence[Case]
    measure: Callable[..., Case]
    repeat: str = ""

    def rows(self) -> list[R]:
        """The stored rows."""
        return read_rows(self.table, self.row)

    def missing(self, chosen: Sequence[Case] | None = None) -> list[Case]:
        """Cases, or those of ``chosen``, without a row, in the order of computing."""
        stored = {self._key(vars(row)) for row in self.rows()}
        wanted = self.cases if chosen is None else chosen
        missing = [case for case in wanted if self._key(case) not in stored]
        if self.repeat:
            missing.sort(key=lambda case: case[self.repeat])
        return missing

    def run(self, jobs: int = 1, chosen: Sequence[Case] | None = None) -> list[R]:
        """Compute and store what is missing, in so many processes; returns all rows.

        After a failure, cases that have begun are still stored, and no other begins.
        """
        if jobs == 1:
            while missing := self.missing(chosen):  # other commands may store some of them
                self._store(missing[0], self.measure(**missing[0]))
            return self.rows()
        spawned = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=spawned) as pool:
            running = {pool.submit(self.measure, **case): case for case in self.missing(chosen)}
            try:
                for done in as_completed(running):
                    self._store(running.pop(done), done.result())
            finally:  # of a failure, and of Ctrl-C; as_completed never gives what was cancelled
                pool.shutdown(cancel_futures=True)
                for done, case in running.items():
                    if not done.cancelled() and done.exception() is None:
                        self._store(case, done.result())
        return self.rows()

    def main(self, doc: str | None, *others: "Study[Any]", words: Sequence[str] = ()) -> list[R]:
        """Read the command line, compute what is asked for, and return all rows.

        ``others`` are computed, too, unless only some cases or another table are asked for.
        ``words`` are the command line where a script has read some of it.
        """
        parser = argparse.ArgumentParser(description=doc)
        parser.add_argument("--print", action="store_true", help="only print what the table has")
        parser.add_argument("--table", type=Path, default=self.table, help="CSV file")
        parser.add_argument("--jobs", type=int, default=1, help="processes")
        parser.add_argument(
            "--only", nargs="+", default=[], metavar="COLUMN=VALUE", help="compute only these"
        )
        options = parser.parse_args(words or None)
        chosen = [case for case in self.cases if all(_is_of(case, one) for one in options.only)]
        if not chosen:
            raise SystemExit(f"no case is {' and '.join(options.only)}")
        alone = options.only or options.table != self.table
        self.table = options.table  # that of the tables that are printed next, too
        if options.print:
            if not (rows := self.rows()):
                raise SystemExit(f"{self.table} has no rows; without --print they are computed")
            return rows
        rows = self.run(options.jobs, chosen)
        for other in () if alone else others:
            other.run(options.jobs)
        return rows

    def _store(self, case: Case, values: Case) -> None:
        """Add a row to the file, which other processes may change, too."""
        row = self.row(**case, **values)
        with _locked(self.table.parent):
            rows = [one for one in self.rows() if self._key(vars(one)) != self._key(case)]
            write_rows(self.table, sorted([*rows, row], key=lambda one: self._place(vars(one))))
        print(", ".join(f"{name} {value}" for name, value in vars(row).items()), flush=True)

    def _key(self, row: Case) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.cases[0])

    def _place(self, row: Case) -> list[tuple[int, Any]]:
        """Where a row is in the table: by the order of levels, those of no case by themselves."""
        return [
            (levels.index(value), 0) if value in levels else (len(levels), value)
            for levels, value in zip(self._levels, self._key(row), strict=True)
        ]

    @cached_property
    def _levels(self) -> list[list[Any]]:
        """The values of each column that identifies a row, as they come up in the cases."""
        columns = zip(*map(self._key, self.cases), strict=True)
        return [list(dict.fromkeys(column)) for column in columns]


def _is_of(case: Case, condition: str) -> bool:
    name, _, value = condition.partition("=")
    if name not in case:
        raise SystemExit(f"--only {condition}: no column {name!r}; columns: {', '.join(case)}")
    return str(case[name]) == value


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Exclude other processes that do the same with this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# ---- Differences and tables of any rows


def paired_differences(
    rows: Sequence["DataclassInstance"],
    others: Sequence["DataclassInstance"],
    *,
    pair: Sequence[str],
    value: str = "accuracy",
) -> list[float]:
    """Mean value of rows that agree in the columns ``pair`` minus that of others that do."""
    left, right = (
        {
            key: statistics.fmean(getattr(row, value) for row in own)
            for key, own in grouped(side, pair).items()
        }
        for side in (rows, others)
    )
    return [left[key] - right[key] for key in left if key in right]


def grouped(rows: Iterable[R], columns: Sequence[str]) -> dict[tuple[Any, ...], list[R]]:
    """Rows by their values in some columns, in the order in which these come up."""
    groups: dict[tuple[Any, ...], list[R]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in columns), []).append(row)
    return groups


def pivot(
    rows: Sequence[R], lines: Sequence[str], column: str, cell: Callable[[Sequence[R]], str]
) -> str:
    """A Markdown table with a line for every value of ``lines`` and a column for each of one."""
    cells = grouped(rows, (*lines, column))
    names = dict.fromkeys(getattr(row, column) for row in rows)
    table = [
        [*line, *(cell(own) if (own := cells.get((*line, name))) else "" for name in names)]
        for line in grouped(rows, lines)
    ]
    return markdown({**dict.fromkeys(lines, "l"), **dict.fromkeys(map(str, names), "r")}, table)


def mean_cell(rows: Sequence["DataclassInstance"], value: str = "accuracy") -> str:
    """The mean of a column, its standard deviation and the number of rows."""
    values = [float(getattr(row, value)) for row in rows]
    apart = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{apart} ({len(values)})"


def gains(
    rows: Sequence[R],
    factor: str,
    base: object,
    *,
    lines: Sequence[str],
    column: str,
    pair: Sequence[str] = ("seed",),
    value: str = "accuracy",
) -> str:
    """How many points every level of ``factor`` is ahead of its level ``base``, as Markdown.

    A cell is :func:`gain_cell` of rows that agree in ``lines`` and ``column``.
    """
    bases = grouped([row for row in rows if getattr(row, factor) == base], (*lines, column))

    def cell(own: Sequence[R]) -> str:
        (key,) = grouped(own, (*lines, column))
        return gain_cell(own, bases.get(key, []), pair=pair, value=value)

    levels = [row for row in rows if getattr(row, factor) != base]
    return pivot(levels, (*lines, factor), column, cell)


def gain_cell(
    rows: Sequence["DataclassInstance"],
    others: Sequence["DataclassInstance"],
    *,
    pair: Sequence[str],
    value: str = "accuracy",
) -> str:
    """Mean difference of pairs, with Student's 95 % interval, as a cell; empty without any."""
    pairs = paired_differences(rows, others, pair=pair, value=value)
    return in_a_cell(contrast((1, pairs))) if pairs else ""


def points(estimate: Estimate) -> tuple[str, str]:
    """Points more and their interval, as cells of a table; bold where it excludes 0."""
    low, high = estimate.interval
    mark = "**" if low > 0 or high < 0 else ""
    interval = f"{low:+.1f} to {high:+.1f}" if math.isfinite(low) else "-"
    return f"{mark}{estimate.value:+.1f}{mark}", f"{mark}{interval}{mark}"


def share_cells(components: Mapping[str, Component]) -> list[str]:
    """Shares of variance in per cent, each with its 90 % interval."""
    return [
        f"{100 * one.share:.0f} ({100 * one.interval.low:.0f} to {100 * one.interval.high:.0f})"
        for one in components.values()
    ]


def in_a_cell(estimate: Estimate) -> str:
    """The same as one cell."""
    value, interval = points(estimate)
    text = value if interval == "-" else f"{value} ({interval})"
    return text.replace("** (**", " (").replace("**)", ")**").replace("-", "−")
