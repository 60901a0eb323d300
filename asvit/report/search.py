"""The report of a search: figures with their rows beside them, and one page that holds it all.

It needs a trials.csv and takes whatever else the run folder has, so an unfinished run has a report
too. The same folder gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from asvit.core.console import networks
from asvit.core.run_files import JOURNAL, RESULT, TRIALS
from asvit.core.summary import Cell
from asvit.report import html, search_trained
from asvit.report import search_figures as draw
from asvit.report.correlate import trust
from asvit.report.pictures import Picture
from asvit.report.search_trained import predicted_picture
from asvit.report.style import label
from asvit.search.front import objectives, pareto_front
from asvit.search.result import SearchResult
from asvit.search.rows import read_trials, without_sizes
from asvit.search.settings import ACCURACY, MeasureSearchSettings
from proxies import get_proxy

if TYPE_CHECKING:
    from asvit.search import SearchSettings, TrialRow
    from asvit.spaces import SearchSpace
    from proxies.registry import Better
    from scaling.ranking import Directions

FRONT = 10  # architectures in the front's table
MOST_TRIALS = 1000  # rows in the table of trials; trials.csv has them all
OPEN_TRIALS = 30  # trials up to which their table is shown unfolded

_GOOD = {"higher": "higher is better", "lower": "lower is better", "reported": "only reported"}
_WHERE = {"higher": ("right", "up"), "lower": ("left", "down")}


@dataclass(frozen=True)
class SearchTrials:
    """A search that has finished, or that was stopped on the way.

    Trials are in order; ``better`` has the direction of each measure. There are no settings where
    the folder does not tell them, and no result while it is unfinished.
    """

    name: str
    trials: Sequence[TrialRow]
    better: Directions
    settings: SearchSettings | None = None
    result: SearchResult | None = None

    @property
    def objectives(self) -> dict[str, Better]:
        """The measures that the search was to improve, with their directions."""
        return objectives(self.better)

    @property
    def trains(self) -> bool:
        """Whether it trained networks in place of measuring them."""
        return ACCURACY in self.better

    def space(self) -> SearchSpace | None:
        """The search space; None where it is not known here."""
        from asvit.spaces import load_space

        try:
            return None if self.settings is None else load_space(self.settings.space)
        except (KeyError, ValueError):
            return None


def read_run(folder: Path) -> SearchTrials:
    """Read the run folder of a search.

    The table of trials is as good as the study once a search is finished. Before that the study
    is ahead of it, while the search is running or after it was stopped.
    """
    html.check_run(folder, "asvit search")

    def table() -> list[TrialRow] | None:
        path, names = folder / TRIALS, settings.proxies if settings else ()
        return read_trials(path, names) if path.is_file() else None

    result = SearchResult.read(folder / RESULT) if (folder / RESULT).is_file() else None
    settings = None if result is None else result.settings
    trials = table()
    if result is None or trials is None or len(trials) != result.steps:
        result = None  # of fewer steps: the run is being extended
        try:
            settings, measured = _recalled(folder / JOURNAL)
        except ValueError:
            if trials is None:
                raise
            settings, measured = None, []  # a report of what can be read is better than none
        rows = table()
        if rows is None and settings is None:
            raise FileNotFoundError(f"{folder} is not the folder of a search: it has no {TRIALS}")
        trials = max(rows or [], measured, key=len)
    measures = settings.proxies if settings else trials[0].values if trials else ()
    better = {name: direction(name) for name in measures}
    return SearchTrials(folder.resolve().name, trials, better, settings, result)


def _recalled(journal: Path) -> tuple[SearchSettings | None, list[TrialRow]]:
    """The settings and measured architectures of the study in ``journal``, if there is one.

    There are no architectures where the space or the controller are not known here. The journal
    is left as it is, so a search may be writing to it.
    """
    if not journal.is_file():
        return None, []
    from asvit.search.journal import read_journal  # Optuna and torch, for unfinished runs only
    from asvit.search.loop import History
    from asvit.search.study import first_study, stored_settings
    from asvit.spaces import load_space

    study = first_study(read_journal(journal))
    settings = None if study is None else stored_settings(study.user_attrs)
    if study is None or settings is None:
        return None, []
    better = {name: direction(name) for name in settings.proxies}
    try:
        rows = History(study, load_space(settings.space), settings, better).rows
    except (KeyError, ValueError):
        rows = []
    return settings, rows


def direction(measure: str) -> Better:
    """The direction of ``measure``; merely reported where it is not known here."""
    if measure == ACCURACY:
        return "higher"
    try:
        return get_proxy(measure).better
    except KeyError:
        return "reported"


def pictures(run: SearchTrials) -> list[Picture]:
    """Every picture of ``run``; one without anything to show says so."""
    space, trials, better = run.space(), run.trials, run.better
    uniform = sum(math.log(len(c)) for c in space.dimensions.values()) if space else None
    directions = ", ".join(f"{label(name)} ({_GOOD[way]})" for name, way in better.items())
    plane = run.objectives if len(run.objectives) > 1 else better
    first, second, *_ = (*plane, "", "")
    points = draw.point_rows(trials, plane)
    steps = draw.shown_steps(trials, better, points)
    points = [row for row in points if row.step in steps]
    entropies = [row for row in draw.entropy_rows(trials) if row.step in steps]
    standings = draw.standing_rows(trials, better, steps)
    measures = draw.measure_rows(trials, list(better), steps)
    ways = [_WHERE[w][i] for i, w in enumerate(list(plane.values())[:2]) if w in _WHERE]
    values = run.result.values if run.result else {}
    across, up = (values.get(name, math.nan) for name in (first, second))
    choices: list[draw.ChoiceRow] = []
    if space is not None:
        # A search may have drawn one text many times.
        encode = cache(lambda text: space.encode(space.parse(text)))
        choices = draw.choice_rows(trials, encode, space.dimensions)
    made = [
        Picture(
            "entropy",
            "Entropy of the policy",
            "Joint entropy of the policy that drew each architecture. It falls as the search "
            "settles.",
            lambda: draw.draw_entropy(entropies, uniform=uniform),
            (entropies, draw.EntropyRow),
        ),
        Picture(
            "reward",
            "Learning",
            "How good what is drawn is beside everything that the run drew: the share of it that "
            f"the last {draw.WINDOW} architectures are better than, on average. Random draws stay "
            "about 50 %; the lines of a controller that learns rise.",
            lambda: draw.draw_standings(standings),
            (standings, draw.StandingRow),
        ),
        Picture(
            "measures",
            "Measures",
            f"Every architecture, and the median of the last {draw.WINDOW}: {directions}.",
            lambda: draw.draw_measures(measures),
            (measures, draw.MeasureRow),
        ),
        Picture(
            "front",
            "Front",
            f"Better is {' and '.join(ways) or 'undecided'}. Stronger points came later; the line "
            "joins those that no other architecture beats in both.",
            lambda: draw.draw_points(points, (first, second), seed=(across, up)),
            (points, draw.PointRow),
        ),
        Picture(
            "choices",
            "Choices",
            f"Share of each choice in the last {draw.CHOICE_WINDOW} architectures drawn.",
            lambda: draw.draw_choices(choices),
            (choices, draw.ChoiceRow),
            wide=True,
        ),
    ]
    if not run.trains:
        return made
    # There is no policy, and the second objective is the cost.
    made = [one for one in made if one.name not in ("entropy", "front")]
    if run.result is not None:
        made.append(search_trained.cost_picture(run.result))
    check = run.result.predictor if run.result else None
    return [*made, *([] if check is None else [predicted_picture(check)])]


def page(run: SearchTrials, drawn: Sequence[Picture]) -> str:
    """The whole page of ``run`` around the pictures ``drawn`` of it."""
    beside = "those of the front beside them"
    left_out = html.left_out(draw.MOST_STEPS, len(run.trials), "architectures", beside)
    return html.page(
        f"{run.name}: search for a seed architecture",
        [
            _header(run),
            _seed(run.result),
            _finalists(run.result),
            html.figures(drawn, left_out),
            dimensions(run.space()),
            _front(run),
            trust(run.result.reliability if run.result else None),
            _trials(run),
            html.origin(run.settings, run.result),
        ],
    )


def _header(run: SearchTrials) -> str:
    done, settings, result = len(run.trials), run.settings, run.result
    what = "training" if run.trains else "architecture"
    lines = ("space {s.space}", "controller {s.controller}", "{s.image_size} px", "seed {s.seed}")
    told = [line.format(s=settings) for line in lines if settings is not None]
    whole = html.count(done + (result.retrainings if result else 0), what)
    if result is not None:
        words = f"Finished: {whole} in {html.duration(result.wall_seconds)}."
    else:
        if settings is not None:
            whole = f"{done} of {html.count(settings.trials, what)}"
        words = f"Not finished: {whole}. The same command continues it."
    return html.header("asvit search", run.name, told, words)


def _seed(result: SearchResult | None) -> str:
    if result is None:
        return ""
    pairs = [
        ("parameters", html.number(result.params)),
        ("multiply-adds", html.number(result.macs)),
    ]
    if result.confirmed is not None:
        pairs.append(("accuracy when retrained, per cent [90 %]", result.confirmed.in_words))
    values = ((name, result.values[name]) for name in without_sizes(result.values))
    pairs += [(label(name), html.number(value) or "failed") for name, value in values]
    first, last = result.entropy
    if math.isfinite(first) and math.isfinite(last):
        pairs.append(("entropy, first to last", f"{first:.2f} to {last:.2f} nats"))
    parts = [html.paragraph(result.seed_architecture, "architecture"), html.facts(pairs)]
    if result.reason:
        parts.append(html.paragraph(result.reason, "quiet"))
    return html.section("Seed architecture", html.card(*parts))


def dimensions(space: SearchSpace | None) -> str:
    """What the names of a space's dimensions stand for; empty where it does not say."""
    if space is None or not space.legend:
        return ""
    shown = html.table(["name", "what it is"], [*space.legend.items()])
    words = f"Space {space.name}: {space.description}."
    return html.section("What the letters mean", html.paragraph(words), html.card(shown))


def _finalists(result: SearchResult | None) -> str:
    """What the search could hand on, the seed first; empty before it has finished."""
    if result is None:
        return ""
    settings = result.settings
    if not isinstance(settings, MeasureSearchSettings):
        return search_trained.finalists(result)
    measures = without_sizes(result.values)
    again = any(one.again for one in result.finalists)
    columns = ["from", "architecture", "parameters", "multiply-adds"]
    for measure in measures:
        columns += [label(measure), f"{label(measure)}, again"] if again else [label(measure)]
    cells: list[list[Cell]] = []
    for one in result.seed_first:
        cells.append([one.origin, one.architecture, one.params, one.macs])
        for measure in measures:
            cells[-1] += [one.values[measure], *([one.again.get(measure)] if again else [])]
    words = "The first is the seed architecture: " + (
        "the policy's likeliest, as --pick policy asks."
        if settings.pick == "policy"
        else "the one with the smallest sum of ranks among them."
    )
    if again:
        words = (
            f"Measured again on {networks(settings.recheck)} each, with fresh initial "
            f"weights and another circle. The best of many noisy values owes much to luck. {words}"
        )
    shown = html.table(columns, cells)
    return html.section("Finalists", html.paragraph(words), html.card(shown))


def _front(run: SearchTrials) -> str:
    if not run.objectives:
        return ""
    best = pareto_front(run.trials, run.objectives, count=FRONT)
    words = (
        "The best architectures measured: those that no other one beats in every objective "
        "first, by the sum of their ranks. Click a heading to sort."
    )
    return html.section(
        f"The {len(best)} best", html.paragraph(words), html.card(_table(run, best, short=True))
    )


def _trials(run: SearchTrials) -> str:
    shown = run.trials[-MOST_TRIALS:]
    words = html.count(len(run.trials), "architecture")
    if len(shown) < len(run.trials):
        words = f"The last {len(shown)} of {len(run.trials)} architectures; trials.csv has all"
    unfolded = len(shown) <= OPEN_TRIALS
    return html.section("Trials", html.folded(words, _table(run, shown), unfolded=unfolded))


def _table(run: SearchTrials, trials: Sequence[TrialRow], *, short: bool = False) -> str:
    """A table of ``trials``; the short one leaves out how they came about."""
    measures = without_sizes(run.better)
    columns = ["step", "architecture", "parameters", "multiply-adds", *map(label, measures)]
    cells: list[list[Cell]] = [
        [
            *(t.number, t.architecture, t.params, t.macs),
            *(t.values.get(name) for name in measures),
            *(() if short else (t.reward, t.entropy, t.state, t.reason)),
        ]
        for t in trials
    ]
    return html.table(
        columns if short else [*columns, "reward", "entropy", "state", "reason"],
        cells,
        failed={place for place, t in enumerate(trials) if t.state == "failed"},
        long=not short,
    )


write_search_report = html.Report(read_run, pictures, page)
