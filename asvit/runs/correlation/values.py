"""From the scores of a table's rows to the columns and correlations that answer a question."""

from __future__ import annotations

import math
from collections.abc import Sequence

from asvit.reference.findings import Finding, in_order
from asvit.reference.names import counts, direction, is_trivial
from asvit.reference.settings import CorrelationSettings
from asvit.reference.statistics import combined, correlate
from asvit.reference.values import Values
from asvit.runs.correlation.journal import ScoreJournal
from asvit.runs.correlation.plan import Plan


def gather(plan: Plan, settings: CorrelationSettings, journal: ScoreJournal) -> Values:
    """The columns of ``plan``, all of whose scores are in ``journal``."""
    table = plan.table
    architectures = tuple(table.architectures[row] for row in plan.rows)
    measured = {name: _measured(journal, architectures, name) for name in plan.measures}
    better = {name: direction(name) for name in plan.measures}
    shown = {name: tuple(map(float, combined(name, measured, better)[0])) for name in plan.shown}
    return Values(
        architectures=architectures,
        image_sizes=tuple(settings.image_size or table.image_sizes[row] for row in plan.rows),
        accuracies={
            name: tuple(table.accuracies[name][row] for row in plan.rows) for name in plan.targets
        },
        measures=shown | {name: measured[name] for name in plan.measures if name not in shown},
        reasons=tuple(_reason(journal, text, plan.measures) for text in architectures),
    )


def correlate_all(plan: Plan, values: Values, *, seed: int) -> list[Finding]:
    """Every shown measure with every target: the counts first, then by tau from the best.

    Takes about 0.2 s for each measure and target.

    Args:
        plan: Targets and measures.
        values: Their columns.
        seed: Of the resamples, which all of them share.
    """
    rivals = {p.name: values.measures[p.name] for p in counts() if p.better != "reported"}
    return in_order(
        [
            Finding(
                measure=name,
                target=target,
                better=direction(name),
                trivial=is_trivial(name),
                correlation=correlate(
                    values.measures[name],
                    values.accuracies[target],
                    better=direction(name),
                    counts=rivals,
                    seed=seed,
                ),
            )
            for target in plan.targets
            for name in plan.shown
        ]
    )


def _measured(journal: ScoreJournal, architectures: Sequence[str], name: str) -> tuple[float, ...]:
    scores = (journal.score(text, name) for text in architectures)
    return tuple(math.nan if score is None else float(score.value) for score in scores)


def _reason(journal: ScoreJournal, architecture: str, measures: Sequence[str]) -> str:
    scores = {name: journal.score(architecture, name) for name in measures}
    told = (
        f"{name}: {score.reason or f'the value is {score.value}'}"
        for name, score in scores.items()
        if score is not None and not score.valid
    )
    return " ".join("; ".join(told).split())
