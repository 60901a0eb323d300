"""What a question about a reference table comes to: which rows, which measures, which targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from asvit.reference.names import parts, resolve
from asvit.reference.settings import ALL, Question
from asvit.reference.statistics import LEAST_ROWS
from asvit.reference.table import ReferenceTable
from proxies.messages import unknown


@dataclass(frozen=True)
class Plan:
    """What is measured and shown to answer a question.

    Attributes:
        table: The reference table.
        targets: Names of its accuracies, in its order.
        shown: Names of the measures and combinations, the counts first.
        rows: Places in the table, ascending.
        excluded: Why rows of the table were left out, in words, to how many.
    """

    table: ReferenceTable
    targets: tuple[str, ...]
    shown: tuple[str, ...]
    rows: tuple[int, ...]
    excluded: Mapping[str, int]

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """What is measured: everything shown, with combinations taken apart."""
        return tuple(dict.fromkeys(part for name in self.shown for part in parts(name)))


def make_plan(table: ReferenceTable, question: Question, *, seed: int) -> Plan:
    """Find the rows, measures and targets that answer ``question``.

    Args:
        table: The reference table.
        question: What is asked of it.
        seed: Which rows, where only some are asked for.

    Raises:
        ValueError: If the table has no such accuracy, there is no such measure, a combination
            holds one that ranks nothing, or too few rows are left.
    """
    targets = _targets(table, question.targets)
    shown = resolve(question.proxies)
    rows, excluded = _rows(table, question, targets, seed)
    if len(rows) < LEAST_ROWS:
        left_out = ", ".join(f"{count} {why}" for why, count in excluded.items())
        raise ValueError(
            f"{len(rows)} of {len(table.architectures)} rows of table {table.name} are left "
            f"({left_out}); a correlation needs at least {LEAST_ROWS}"
        )
    return Plan(table, targets, shown, rows, excluded)


def _targets(table: ReferenceTable, asked: Sequence[str]) -> tuple[str, ...]:
    if not asked:
        return (table.default_target,)
    for name in asked:
        if name != ALL and name not in table.targets:
            raise ValueError(
                f"table {table.name}: {unknown('target', name, [*table.targets, ALL])}"
            )
    return tuple(name for name in table.targets if ALL in asked or name in asked)


def _rows(
    table: ReferenceTable, question: Question, targets: Sequence[str], seed: int
) -> tuple[tuple[int, ...], dict[str, int]]:
    """The rows that are asked for, and how many are left out for which reason."""
    every = range(len(table.architectures))
    known = [
        row
        for row in every
        if any(math.isfinite(table.accuracies[target][row]) for target in targets)
    ]
    limit, small, chosen = question.most_params, known, known
    if limit is not None:
        params = _params(table)
        small = chosen = [row for row in known if params[row] <= limit]
    if question.rows is not None:
        # By a permutation of the whole table: fewer rows are always among more.
        draws = np.random.default_rng(np.random.SeedSequence([seed, len(every)]))
        order = [int(row) for row in draws.permutation(len(every))]
        chosen = sorted([row for row in order if row in set(small)][: question.rows])
    left_out = {
        "without an accuracy": len(every) - len(known),
        f"above {question.max_params} parameters": len(known) - len(small),
        "not drawn": len(small) - len(chosen),
    }
    return tuple(chosen), {why: count for why, count in left_out.items() if count}


def _params(table: ReferenceTable) -> tuple[int, ...]:
    if table.params is None:
        raise ValueError(f"table {table.name} has no parameter counts; leave max_params out")
    return table.params
