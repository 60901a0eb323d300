"""Intervals hold what they say, in a small form of the check; pages have what files give."""

from collections.abc import Iterable

import pytest
from run_script import Script

from asvit.reference.findings import Interval
from asvit.reference.intervals import Estimate
from experiments import check_intervals, evidence_tables
from experiments.check_intervals import KINDS, QUICK, Coverage
from experiments.tables import fill_tables


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
        found = difference(*given, **more)  # type: ignore[arg-type]
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
    text = page.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert evidence_tables.rewritten(text) == text, "run python -m experiments.evidence_tables"


def test_every_table_is_on_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in evidence_tables.PAGES)
    assert all(f"<!-- table {name} -->" in pages for name in evidence_tables.TABLES)


def test_the_table_of_a_study_with_missing_rows_stays() -> None:
    page = "<!-- table old -->\n| a |\n\n<!-- table new -->\n| b |\n"
    tables = {"old": "", "new": "| c |"}
    assert fill_tables(page, "table", tables.__getitem__) == page.replace("| b |", "| c |")
