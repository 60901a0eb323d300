"""Intervals hold what they say, in a small form of the check; pages have what files give."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
from run_script import Script

from asvit.architectures.genotype import Genotype
from asvit.reference import load_reference
from asvit.reference.findings import Interval
from asvit.reference.intervals import Estimate
from asvit.reference.statistics import correlate, kendall
from experiments import check_intervals, compare_designs, evidence_tables
from experiments.check_intervals import KINDS, QUICK, Coverage
from experiments.study import RANDOM, Row, architectures
from experiments.tables import fill_tables, read_rows


@pytest.mark.parametrize("kind", KINDS)
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
        return Estimate(
            found.value, Interval(*((found.value + end) / 2 for end in found.interval))
        )

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


@pytest.mark.parametrize("page", evidence_tables.PAGES, ids=lambda page: page.stem)
def test_pages_have_what_the_files_give(page: object) -> None:
    text = page.read_text(encoding="utf-8")
    assert evidence_tables.rewritten(text) == text, "run python -m experiments.evidence_tables"


def test_every_table_is_on_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in evidence_tables.PAGES)
    assert all(f"<!-- table {name} -->" in pages for name in evidence_tables.TABLES)


def test_only_the_tables_of_studies_without_rows_are_not_made_anew() -> None:
    old = {name for name, table in evidence_tables.TABLES.items() if not table()}
    assert old == {"controllers", "published", "scalings", "retokenization"}
    assert "four are as their commands printed them" in said("evidence")


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
    words = f"{between} on hard ones, where training seeds alone give {seeds:.1f}"
    assert words in said("evidence_designs")


def test_words_about_seeds_of_one_size_follow_from_the_table() -> None:
    table = load_reference("asvit-sizes")
    first, second = (np.array(table.accuracies[f"accuracy_seed{seed}"]) for seed in range(2))
    sizes = [(g.depths, g.width) for g in map(Genotype.parse, table.architectures)]
    alike = np.array([size == ((1, 1, 1, 1), 16) for size in sizes])
    other, own = (kendall(first[rows], second[rows]) for rows in (~alike, alike))
    words = f"{own:.2f} among the {alike.sum()} of equal size"
    assert f"{other:.2f} among networks of other sizes, {words}" in said("reference_build")
