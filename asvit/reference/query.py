"""Answers a query: its rows, measures and accuracies, their values, and the findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from asvit.reference.correlate import correlate, ranked
from asvit.reference.findings import Finding, sort_findings
from asvit.reference.result import Values
from asvit.reference.scores import ScoreJournal
from asvit.reference.settings import (
    ALL,
    PLUS,
    CorrelationQuery,
    CorrelationSettings,
    direction,
    parts,
)
from asvit.reference.table import LEAST_ROWS, ReferenceTable
from asvit.statistics.ranks import oriented
from proxies import PROXIES, Score, get_proxy
from proxies.messages import unknown
from proxies.registry import Proxy, standard_measures


def measures() -> list[str]:
    """The names that a query accepts, beside rank sums."""
    return [ALL, *PROXIES]


def counts() -> list[Proxy]:
    """The measures that do not depend on the weights, params and macs first: the baselines."""
    proxies = [get_proxy(name) for name in standard_measures() if not get_proxy(name).random]
    return sorted(proxies, key=lambda proxy: proxy.name not in ("params", "macs"))


def is_trivial(name: str) -> bool:
    """Whether a measure, or every part of a rank sum, is a count; times are none."""
    return {proxy.name for proxy in counts()}.issuperset(parts(name))


def resolve(proxies: Sequence[str]) -> tuple[str, ...]:
    """The counts, then the requested measures, each once; ``"all"`` is all but the timed ones."""
    names = [proxy.name for proxy in counts()]
    for name in proxies:
        names += standard_measures() if name == ALL else [_checked(name)]
    return tuple(dict.fromkeys(names))


def _checked(name: str) -> str:
    """``name`` without spaces, if every part of it is a measure that can be ranked."""
    measures = [part.strip() for part in parts(name)]
    for part in measures:
        if part not in PROXIES:
            raise ValueError(unknown("proxy", part, [*PROXIES, ALL]))
        if len(measures) > 1 and PROXIES[part].better == "reported":
            raise ValueError(f"proxy {name!r}: {part!r} is only reported and cannot be ranked")
    if len(set(measures)) < len(measures):
        raise ValueError(f"proxy {name!r} names a measure more than once")
    return PLUS.join(measures)


@dataclass(frozen=True)
class Plan:
    """The measurements and findings that answer a query."""

    table: ReferenceTable
    targets: tuple[str, ...]  # names of its accuracies, in its order
    shown: tuple[str, ...]  # measures and rank sums, the counts first
    rows: tuple[int, ...]  # indices into the table, ascending
    excluded: Mapping[str, int]  # reason for leaving rows out, in words -> number of rows

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """The measures to compute: all of ``shown``, with rank sums split into their measures."""
        return tuple(dict.fromkeys(part for name in self.shown for part in parts(name)))


def make_plan(table: ReferenceTable, query: CorrelationQuery, *, seed: int) -> Plan:
    """Find the rows, measures and targets that answer ``query``; ``seed`` draws rows."""
    for name in query.targets:
        if name != ALL and name not in table.targets:
            wrong = unknown("target", name, [*table.targets, ALL])
            raise ValueError(f"table {table.name}: {wrong}")
    asked = query.targets or (table.default_target,)
    targets = tuple(name for name in table.targets if ALL in asked or name in asked)
    shown = resolve(query.proxies)
    rows, excluded = _rows(table, query, targets, seed)
    if len(rows) < LEAST_ROWS:
        left_out = ", ".join(f"{count} {why}" for why, count in excluded.items())
        raise ValueError(
            f"{len(rows)} of {len(table)} rows of table {table.name} are left "
            f"({left_out}); a correlation needs at least {LEAST_ROWS}"
        )
    return Plan(table, targets, shown, rows, excluded)


def _rows(
    table: ReferenceTable, query: CorrelationQuery, targets: Sequence[str], seed: int
) -> tuple[tuple[int, ...], dict[str, int]]:
    """The selected rows, and the number of rows left out for each reason."""
    columns = np.array([table.accuracies[target] for target in targets])
    rated = np.flatnonzero(np.isfinite(columns).any(axis=0))
    small = rated
    if query.most_params is not None:
        if table.params is None:
            raise ValueError(f"table {table.name} has no parameter counts; leave max_params out")
        small = rated[np.array(table.params)[rated] <= query.most_params]
    # A permutation of the whole table makes a smaller draw a subset of a larger one.
    draws = np.random.default_rng(np.random.SeedSequence([seed, len(table)]))
    order = draws.permutation(len(table))
    rows = sorted(map(int, order[np.isin(order, small)][: query.rows]))
    left_out = {
        "without an accuracy": len(table) - len(rated),
        f"above {query.max_params} parameters": len(rated) - len(small),
        "not drawn": len(small) - len(rows),
    }
    return tuple(rows), {why: count for why, count in left_out.items() if count}


def gather(plan: Plan, settings: CorrelationSettings, journal: ScoreJournal) -> Values:
    """The values of ``plan``; ``journal`` must have all their scores."""
    table, texts = plan.table, [plan.table.architectures[row] for row in plan.rows]
    scores = [{name: journal.scores[text][name] for name in plan.measures} for text in texts]
    measures = {name: tuple(float(of[name].value) for of in scores) for name in plan.measures}
    every = range(len(texts))
    columns = {name: tuple(ranked(measures, name, every).tolist()) for name in plan.shown}
    return Values(
        architectures=tuple(texts),
        image_sizes=tuple(settings.image_size or table.image_sizes[row] for row in plan.rows),
        accuracies={
            name: tuple(table.accuracies[name][row] for row in plan.rows) for name in plan.targets
        },
        measures={**columns, **measures},
        reasons=tuple(map(_reason, scores)),
    )


def _reason(scores: Mapping[str, Score]) -> str:
    """The failures of a row's measures and their reasons, in a line; empty without any."""
    failures = (
        f"{name}: {score.reason or f'the value is {score.value}'}"
        for name, score in scores.items()
        if not score.valid
    )
    return " ".join("; ".join(failures).split())


def count_columns(values: Values) -> dict[str, NDArray[np.float64]]:
    """The counts of the rows, the baselines of every measure: name -> ``[rows]``.

    Higher is better, also of a count of the user's for which lower is.
    """
    ranked = (proxy for proxy in counts() if proxy.better != "reported")
    return {proxy.name: oriented(values.measures[proxy.name], proxy.better) for proxy in ranked}


def correlate_all(plan: Plan, values: Values, *, seed: int) -> list[Finding]:
    """Every shown measure with every target: the counts first, then by tau from the best.

    Takes about 0.2 s per measure and target; all share the bootstrap resamples of ``seed``.
    """
    rivals = count_columns(values)

    def finding(name: str, target: str) -> Finding:
        accuracies, better = np.array(values.accuracies[target]), direction(name)
        rated = np.isfinite(accuracies)
        x, y = ranked(values.measures, name, rated), accuracies[rated]
        counts = {count: column[rated] for count, column in rivals.items()}
        correlation = correlate(x, y, better=better, counts=counts, seed=seed)
        return replace(correlation, measure=name, target=target, trivial=is_trivial(name))

    return sort_findings([finding(name, target) for target in plan.targets for name in plan.shown])
