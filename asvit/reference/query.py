"""Answers a query about a table: from what is measured, or from scores that come with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asvit.reference.correlate import best_count, correlate, ranked, unranked
from asvit.reference.findings import Finding, Reliability, sort_findings
from asvit.reference.result import Values
from asvit.reference.settings import (
    ALL,
    PLUS,
    CorrelationSettings,
    direction,
    parts,
)
from asvit.reference.table import LEAST_ROWS, ReferenceTable, load_reference, read_sheet
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


def make_plan(table: ReferenceTable, s: CorrelationSettings) -> Plan:
    """Find the rows, measures and targets that are asked for; the seed draws rows."""
    for name in s.targets:
        if name != ALL and name not in table.targets:
            wrong = unknown("target", name, [*table.targets, ALL])
            raise ValueError(f"table {table.name}: {wrong}")
    asked = s.targets or (table.default_target,)
    targets = tuple(name for name in table.targets if ALL in asked or name in asked)
    shown = resolve(s.proxies)
    rows, excluded = _rows(table, s, targets)
    if len(rows) < LEAST_ROWS:
        left_out = ", ".join(f"{count} {why}" for why, count in excluded.items())
        raise ValueError(
            f"{len(rows)} of {len(table)} rows of table {table.name} are left "
            f"({left_out}); a correlation needs at least {LEAST_ROWS}"
        )
    return Plan(table, targets, shown, rows, excluded)


def _rows(
    table: ReferenceTable, s: CorrelationSettings, targets: Sequence[str]
) -> tuple[tuple[int, ...], dict[str, int]]:
    """The selected rows, and the number of rows left out for each reason."""
    columns = np.array([table.accuracies[target] for target in targets])
    rated = np.flatnonzero(np.isfinite(columns).any(axis=0))
    small = rated
    if s.most_params is not None:
        if table.params is None:
            raise ValueError(f"table {table.name} has no parameter counts; leave max_params out")
        small = rated[np.array(table.params)[rated] <= s.most_params]
    # A permutation of the whole table makes a smaller draw a subset of a larger one.
    draws = np.random.default_rng(np.random.SeedSequence([s.seed, len(table)]))
    order = draws.permutation(len(table))
    rows = sorted(map(int, order[np.isin(order, small)][: s.rows]))
    left_out = {
        "without an accuracy": len(table) - len(rated),
        f"above {s.max_params} parameters": len(rated) - len(small),
        "not drawn": len(small) - len(rows),
    }
    return tuple(rows), {why: count for why, count in left_out.items() if count}


def gather(
    plan: Plan, settings: CorrelationSettings, known: Mapping[str, Mapping[str, Score]]
) -> Values:
    """The values of ``plan``, of whose architectures every score is ``known``."""
    table, texts = plan.table, [plan.table.architectures[row] for row in plan.rows]
    scores = [{name: known[text][name] for name in plan.measures} for text in texts]
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


#: Scores of tables, a file for each, written by ``python -m experiments.tau_table --store``.
FOLDER = Path(__file__).with_name("measured")


def stored_values(table: ReferenceTable) -> tuple[dict[str, NDArray[np.float64]], str]:
    """Every stored measure and count of a table, ``[rows]`` each, and how they were measured.

    A value is NaN where the measure failed.
    """
    sheet = read_sheet(FOLDER / f"{table.name}.csv")
    columns = dict(sheet.columns)
    place = {text: row for row, text in enumerate(columns.pop("architecture"))}
    order = [place[text] for text in table.architectures]
    values = {
        name: np.array([float(cells[row] or "nan") for row in order])
        for name, cells in columns.items()
    }
    return values, sheet.provenance["measured"]


def stored_reliability(name: str, measures: Sequence[str]) -> Reliability:
    """How well measures, and the sum of their ranks, order the bundled table ``name``.

    Measures without stored scores, such as the user's own, have a reason in place of a tau.
    """
    table = load_reference(name)
    target = table.target()
    values, how = stored_values(table)
    accuracies = np.asarray(table.accuracies[target.name])
    columns = {
        count.name: oriented(values[count.name], count.better)
        for count in counts()
        if count.name in values
    }

    def rank(measure: str) -> Finding:
        better = direction(measure)
        missing = [part for part in parts(measure) if part not in values]
        if missing:
            reason = f"no scores of {', '.join(missing)} come with table {name}"
            finding = unranked(0, 0, reason, better)
        else:
            own = ranked(values, measure, range(len(table)))
            finding = correlate(own, accuracies, better=better, counts=columns, within=False)
        return replace(finding, measure=measure, target=target.name, trivial=is_trivial(measure))

    rival, _ = best_count(columns, accuracies)
    return Reliability(
        reference=name,
        digest=table.digest,
        target=target.name,
        description=target.description,
        noise_ceiling=target.noise_ceiling,
        rows=len(table),
        scores=how,
        measures=tuple(map(rank, with_sum(measures))),
        best_count=rank(rival),
    )


def with_sum(measures: Sequence[str]) -> list[str]:
    """The measures of a run, and the sum of the ranks by all that have a direction."""
    ranked_by = [name for name in measures if direction(name) != "reported"]
    return [*measures, *([PLUS.join(ranked_by)] if len(ranked_by) > 1 else [])]
