"""Intervals hold what they say, in a small form of the check; pages have what files give."""

import itertools
import math
import re
from collections.abc import Iterable

import numpy as np
import pytest
from run_script import Script, table_cells

from asvit.architectures.genotype import Genotype
from asvit.core.estimates import Estimate, Interval
from asvit.reference.correlate import correlate
from asvit.statistics.intervals import contrast
from experiments import (
    check_intervals,
    compare_designs,
    compare_outcomes,
    compare_psvit,
    compare_rules,
    evidence_tables,
    predictor_table,
    study_designs,
    study_mended,
)
from experiments.check_intervals import KINDS, QUICK, Coverage
from experiments.compare_designs import PREDICTED, SHORTER
from experiments.compare_outcomes import BEST, PICKED, POLICY, PUBLISHED
from experiments.kinds import RANDOM, Row, architectures, difference
from experiments.study import grouped, in_a_cell, paired_differences
from experiments.tables import fill_tables, read_rows

#: Kinds whose samples take long, and pages whose tables resample much.
SLOW = (
    *("cross_validate", "shares of variance"),
    *("winner of a search", "τ in bands", "τ of a search's predictor"),
    *("evidence", "evidence_designs"),
)


def quick_ones(names: Iterable[str]) -> list[object]:
    """The names, slow ones for the night."""
    night = pytest.mark.nightly
    return [pytest.param(name, marks=[night] * (name in SLOW)) for name in names]


@pytest.mark.parametrize("kind", quick_ones(KINDS))
def test_intervals_cover(kind: str) -> None:
    found = list(KINDS[kind](QUICK, 0))
    assert found
    assert [one for one in found if not one.holds] == []


def test_intervals_that_are_half_as_wide_are_seen(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    difference = check_intervals.difference

    def halved(*given: object, **more: object) -> Estimate:
        found = difference(*given, **more)
        return Estimate(found.value, *((found.value + end) / 2 for end in found.interval))

    monkeypatch.setattr(check_intervals, "difference", halved)
    with pytest.raises(SystemExit) as ended:
        check_intervals.main(["--samples", "100", "--kind", "differences of outcomes"])
    assert ended.value.code == 1


def test_intervals_that_are_too_wide_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def vague(samples: int, _seed: int) -> Iterable[Coverage]:
        yield check_intervals.covered("vague", [(0.0, Interval(-1.0, 1.0))] * samples, 0.9)

    monkeypatch.setattr(check_intervals, "KINDS", {"vague": vague})
    with pytest.raises(SystemExit) as ended:
        check_intervals.main([])
    assert ended.value.code == 1


@pytest.mark.parametrize("name", quick_ones(page.stem for page in evidence_tables.PAGES))
def test_pages_have_what_the_files_give(name: str) -> None:
    (page,) = (page for page in evidence_tables.PAGES if page.stem == name)
    text = page.read_text(encoding="utf-8")
    assert evidence_tables.rewritten(text) == text, "run python -m experiments.evidence_tables"


def test_every_table_is_on_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in evidence_tables.PAGES)
    assert all(f"<!-- table {name} -->" in pages for name in evidence_tables.TABLES)


def test_the_table_of_a_study_with_missing_rows_stays() -> None:
    page = "<!-- table old -->\n| a |\n\n<!-- table new -->\n| b |\n"
    tables = {"old": "", "new": "| c |"}
    assert fill_tables(page, "table", tables.__getitem__) == page.replace("| b |", "| c |")


def said(name: str) -> str:
    """The text of a page in one line."""
    return " ".join((evidence_tables.DOCS / f"{name}.md").read_text(encoding="utf-8").split())


def test_words_about_random_draws_follow_from_the_rows() -> None:
    rows = read_rows(compare_designs.table_of("hard-fractals"), Row)
    draws = list(architectures(rows, RANDOM))
    widths = [Genotype.parse(text).width for _, text, _ in draws]
    accuracies = np.array([values for *_, values in draws])
    means, seeds = accuracies.mean(axis=1), math.sqrt(accuracies.var(axis=1, ddof=1).mean())
    between = f"{means.std(ddof=1):.1f}"
    page = said("evidence_searches")
    lowest, highest = min(means), max(means)
    assert f"{len(draws)} random draws end anywhere from {lowest:.1f} to {highest:.1f} %" in page
    assert f"(standard deviation {between} between networks, {seeds:.1f} between" in page
    ranking = correlate(widths, means, better="higher", samples=10_000)
    low, high = ranking.tau_interval
    assert f"τ {ranking.tau:.2f} ({low:.2f} to {high:.2f})" in page
    alone = seeds / math.sqrt(accuracies.shape[1])
    words = f"{between} on hard ones, where training seeds alone would give {alone:.1f} (means of "
    assert words in said("evidence_designs")


def not_quoted(page: str, estimates: Iterable[Estimate]) -> list[str]:
    """Estimates whose interval, as tables would have it, is not on a page."""
    cells = [in_a_cell(one).strip("*") for one in estimates]
    return [cell for cell in cells if cell[cell.index("(") :] not in said(page)]


def test_words_about_searches_quote_what_the_rows_give() -> None:
    outcomes = read_rows(compare_outcomes.TABLE, Row)
    pairs = [(PICKED, RANDOM), (POLICY, RANDOM), (PUBLISHED, RANDOM), (PICKED, BEST)]
    estimates = [
        difference(outcomes, [pair], paired=(POLICY, PICKED, BEST))
        for pair in (*pairs, (PICKED, POLICY))
    ]
    seeds = [
        [row.accuracy for row in rows] for rows in grouped(outcomes, ["architecture"]).values()
    ]
    *_, most, one, other = sorted(max(own) - min(own) for own in seeds)
    words = f"up to {most:.0f} points, by {one:.0f} and {other:.0f} where trainings fail"
    assert words in said("evidence_searches")
    for pictures, kind in (
        *(("digits", PREDICTED), ("fractals", PREDICTED)),
        *(("hard-fractals", PREDICTED), ("hard-fractals", SHORTER)),
    ):
        rows = read_rows(compare_designs.table_of(pictures), Row)
        estimates.append(difference(rows, [(kind, RANDOM)], paired=compare_designs.SEARCHES))
    assert not_quoted("evidence_searches", estimates) == []


def test_words_about_growths_quote_what_the_rows_give() -> None:
    estimates: list[Estimate] = []
    for budget, rules in (("0.8M", []), ("1.5M", []), ("0.005G", ["width"])):
        rows = read_rows(compare_rules.table_of(budget), Row)
        others = {row.kind for row in rows} - {"grown"}
        apart = {other: difference(rows, [("grown", other)]) for other in others}
        assert {name for name, one in apart.items() if one.interval.low > 0} == {*rules}
        assert not [name for name, one in apart.items() if one.interval.high < 0]
        estimates += [apart[name] for name in ("grown at random", *rules)]
    assert not_quoted("evidence_searches", estimates) == []


def test_words_about_paths_quote_what_the_rows_give() -> None:
    estimates: list[Estimate] = []
    paths = compare_psvit.STUDY.rows()
    for kind, other in itertools.product(("supernet", "training"), ("random", "within")):
        sides = ([row for row in paths if row.origin.startswith(one)] for one in (kind, other))
        estimates.append(contrast((1, paired_differences(*sides, pair=["seed"]))))
    assert not_quoted("evidence_searches", estimates) == []


def test_words_about_designs_quote_what_the_rows_give() -> None:
    page = said("evidence_designs")
    points: dict[str, dict[str, dict[str, str]]] = {}  # by design, other network and pictures
    for design in ("design", "design of transformers"):
        header, _, *lines = table_cells(study_designs.ahead(design=design))
        points[design] = {
            name: dict(zip(header[1:], cells, strict=True)) for name, *cells in lines
        }
    for design, other, pictures in (
        ("design", "without resnet-parts", "all"),
        ("design", "without resnet-parts and fractals", "textures"),
        *(("design", "resnet-parts", pictures) for pictures in ("drawn-300", "textures")),
        ("design", "shiftvit", "all"),
        *(("design of transformers", "shiftvit", pictures) for pictures in ("textures", "all")),
    ):
        assert points[design][other][pictures].strip("*") in page


def test_words_about_predictors_quote_what_leads_and_trails_measures() -> None:
    shown = r"[+−][\d.]+ \(([+−])[\d.]+ to \1[\d.]+\)"  # the interval is on one side of zero
    cells = [one[0] for one in re.finditer(shown, predictor_table.table("measure"))]
    assert len(cells) == 4
    assert [cell for cell in cells if cell not in said("predictor")] == []


def test_words_about_counts_of_reference_tables_are_those_of_the_predictor_s_table() -> None:
    taus: dict[str, list[str]] = {}
    for name, count, *_ in table_cells(predictor_table.table("count"))[2:]:
        taus.setdefault(name.partition(",")[0], []).append(count.partition(" ")[2])
    page = said("reference")
    for name, words in (("vitbench101-pit", "PiT"), ("vitbench101-autoformer", "AutoFormer")):
        low, *_, high = sorted(taus[name], key=lambda tau: float(tau.replace("−", "-")))
        assert f"{low} to {high} on {words}" in page
    assert f"{min(taus['timm-in1k'])} to {max(taus['timm-in1k'])} on timm" in page


def test_words_about_mended_networks_follow_from_the_rows() -> None:
    table = study_mended.ranks(study_mended.STUDY.rows(), study_mended.MEASURED.rows())
    cells = {name: own for name, *own in table_cells(table)[2:]}
    for own in cells.values():
        for cell in own[1:]:
            low, high = re.findall(r"[−\d.]+", cell.partition("(")[2])[:2]
            assert float(low.replace("−", "-")) <= 0 <= float(high)
    page = said("evidence_measures")
    for name in ("synflow", "zico", "snip"):
        assert all(cell in page for cell in cells[name][:2])
    assert cells["length_distortion"][1] in page
    for place, words in ((3, "pairs of two families (τ {} to {})"), (2, "of one ({} to {})")):
        taus = [own[place].partition(" ")[0] for own in cells.values()]
        taus.sort(key=lambda tau: float(tau.replace("−", "-")))
        assert words.format(taus[0], taus[-1]) in page
