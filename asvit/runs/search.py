"""Searches: a space explored for a seed architecture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock, quantity
from asvit.core.run_files import STUDY, TRAINED, TRIALS
from asvit.core.settings import settings_class
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.measuring.latency import Timed
from asvit.runs.folder import RunFiles
from asvit.runs.run_folder import Kind
from asvit.runs.shared import MeasuringOptions, rank_table
from asvit.search.result import SearchResult
from asvit.search.rows import without_sizes
from asvit.search.settings import ACCURACY, SearchSettings
from scaling import Budget

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.search import Evaluate

_GROWTH = 10  # the budget of the next command over the seed's parameters


def summary(result: SearchResult) -> Iterator[SummaryPart]:
    """The finalists, how the search went, and how far to trust its measures."""
    settings, latency = result.settings, result.latency
    yield _finalists(result)
    yield (
        f"seed architecture: {result.params:,} params, {result.macs:,} multiply-adds at "
        f"{settings.image_size} px"
    )
    count = result.steps + result.retrainings
    words = [f"{quantity(count, settings.counted)} in {clock(result.wall_seconds)}"]
    first, last = result.entropy.first, result.entropy.last
    if math.isfinite(first) and math.isfinite(last):
        words.append(f"entropy {first:.2f} to {last:.2f} nats")
    if result.failures:
        words.append(f"{result.failures} failed")
    if result.reason:
        words.append(f"of the seed {result.reason}")
    yield "; ".join(words)
    if latency is not None:
        for doubt in latency.doubts(settings.max_latency or math.inf):
            yield f"warning: {doubt}"
    if settings.trains:
        yield result.accuracies_in_words
    if result.predictor is not None:
        yield result.predictor.in_words
    yield from rank_table(result.reliability)
    measured = not settings.trains and result.provenance["images"]  # by no own function
    if measured and result.several_families:
        yield (
            "measures of untrained networks are not shown to tell families apart; "
            "--controller predictor --trainings 48 compares them by short trainings"
        )
    if f"--budget {next_budget(result.params)} " in f"{result.next_command} ":
        yield f"next grows the seed to {_GROWTH} times its size; --budget takes another one"


def _finalists(result: SearchResult) -> Table:
    """The finalists, the seed first."""
    s, measures = result.settings, without_sizes(result.values)
    twice = any(finalist.again for finalist in result.finalists)
    predicted = any(math.isfinite(finalist.predicted) for finalist in result.finalists)
    rows = list[dict[str, Cell]]()
    for one in result.seed_first:
        row: dict[str, Cell] = {} if s.trains else {"": one.origin}
        row["architecture"] = one.architecture
        if result.several_families:
            row["family"] = one.family_in_words
        row["params"] = one.params
        if s.trains:
            row |= {"trainings": one.trainings, "mean": one.values[ACCURACY]}
            if predicted:
                row["predicted"] = one.predicted
            if result.confirmed is not None:
                fresh = None if one.confirmed is None else one.confirmed.estimate
                row["retrained [90 %]"] = fresh
        for measure in () if s.trains else measures:
            row[measure] = one.values[measure]
            if twice:
                row[f"{measure} again"] = one.again.get(measure)
        if result.latency is not None:
            row["ms"] = None if one.latency is None else one.latency.milliseconds
        rows.append(row)
    title = "The finalists; the first is the seed architecture"
    if s.trains:
        title = "The best architectures (accuracies in %); the first is the seed architecture"
    elif twice:
        title = (
            f"The finalists, measured again on {quantity(s.recheck, 'network')}; the first is the "
            "seed architecture"
        )
    if s.pick == "policy":
        title += " (--pick policy)"
    return Table([*rows[0]], [[*row.values()] for row in rows], title, rule=1)


def next_budget(params: int) -> str:
    """The budget of the next command: ten times the seed's parameters, in two digits.

    The paper goes to 38 times, in hours; this is a first step at any image size.
    """
    return str(Budget("params", max(1, round(float(f"{_GROWTH * params:.2g}")))))


@settings_class
class SearchOptions(MeasuringOptions):
    """Options of a search that do not change its result."""

    evaluate: Any = None  # an ``Evaluate``, in place of the measures


SEARCH = Kind(
    command="search",
    help="""Search for an architecture, by measures or by short trainings on your images.

    The same command resumes a stopped run, or shows the result of a finished one. More steps or
    trainings extend it.
    """,
    files=RunFiles(
        "search",
        "search",
        (TRIALS, TRAINED, STUDY),
        figures=("entropy", "reward", "measures", "front", "choices"),
    ),
    settings_type=SearchSettings,
    options_type=SearchOptions,
    result=SearchResult,
    execute="asvit.runs.algorithms.search:execute",
    name=lambda s, _: f"search-{s.space}-{s.controller}-{s.image_size}px-seed{s.seed}",
    records=(Timed,),
    may_grow=("steps", "trainings"),
    may_change=("recheck", "pick"),
    summary=summary,
    pictures="asvit.report.search:pictures",
    details="asvit.report.search:details",
    written="report.html, trials.csv, trainings.csv, result.json, figures",
    complete=(TRIALS,),
    settles=False,
    ends_in="seed_architecture",
)


@with_options(SearchSettings, SearchOptions, CallOptions)
def run_search(
    *, workers: Workers | None = None, evaluate: Evaluate | None = None, **given: Any
) -> SearchResult:
    """Search a space for a seed architecture; the same call continues a run that was stopped.

    The run folder holds ``study.journal`` (the Optuna study), ``trials.csv``, ``result.json``
    and the report. Stopped at any point, even by ``kill -9``, the run continues to the identical
    trials; at most the architectures in flight, and what has overtaken them, are measured again.
    More steps than before extend a run; a finished one only gives its result.

    Args:
        workers: Processes that measure; the result does not depend on them.
        evaluate: A function that measures the architecture of a text in place of the proxies,
            called in this process. It gives an :class:`asvit.search.Measurement`; an architecture
            for which it raises an error, or gives no number, has failed with the reason. In place
            of trainings, it is called again for some architectures, with another ``seed`` if it
            has such a parameter. A run that was started with a function goes on with one; once
            finished, it gives its result without.

    Example:
        >>> result = asvit.run_search(
        ...     steps=2, image_size=32, images=2, points=3, repeats=1, recheck=1, out="search"
        ... )
        >>> asvit.cost(result.seed_architecture).params == result.params
        True
    """
    run = SEARCH.make(workers=workers, evaluate=evaluate, **given)
    result: SearchResult = run.run()
    return result
