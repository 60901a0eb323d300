"""The report of a scaling's run folder: finished, stopped, extended, with failures."""

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from asvit.core.versions import versions
from asvit.growth.journal import GrowthJournal
from asvit.growth.result import ScaleResult
from asvit.growth.settings import ScaleSettings
from asvit.report import scale_figures as draw
from asvit.report.scale import page, read_scaling, write_scale_report
from asvit.report.style import style
from asvit.runs.run import write_report
from scaling import Row
from scaling.trajectory import to_csv

FILES = {"growth", "sizes", "measures", "clouds"}
SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
IMAGES = {"source": "fractal", "digest": "abc"}
SETTINGS = ScaleSettings(SEED, budgets="3M,5M", seed=7)
BETTER = {"length_distortion": "higher", "ntk_condition_number": "lower"}


def row(step: int, depths: Sequence[int], width: int, **changes: object) -> Row:
    params = 10_000 * width * sum(depths)
    return replace(
        Row(
            step=step,
            kind="grow" if step else "start",
            architecture=f"net {','.join(map(str, depths))} <{width}>",
            depths=tuple(depths),
            width=width,
            measured_width=width // 4,
            params=params,
            macs=100 * params,
            values={"length_distortion": 0.1 * width, "ntk_condition_number": 50.0 / sum(depths)},
            rank_sum=None if step == 0 else 3,
            chosen=True,
            reason="",
        ),
        **changes,
    )


START = row(0, (1, 1, 1, 1), 32)
FIRST = row(1, (2, 1, 1, 1), 34)
LAST = row(2, (2, 1, 1, 1), 37, kind="land")
FAILED = row(
    1, (1, 1, 2, 1), 38, chosen=False, reason="ntk_condition_number: it is <singular>",
    values={"length_distortion": 4.0, "ntk_condition_number": math.nan},
)  # fmt: skip
SERIES = [START, FIRST, LAST]
CANDIDATES = [START, FIRST, row(1, (1, 1, 1, 2), 34, chosen=False), FAILED, LAST]


def make_run(folder: Path, *, finished: bool = True, reason: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "steps.csv").write_text(to_csv(SERIES))
    (folder / "candidates.csv").write_text(to_csv(CANDIDATES))
    GrowthJournal(folder / "measured.jsonl").start(
        SETTINGS, images=IMAGES, device="cpu", versions=versions()
    )
    if finished:
        ScaleResult(
            folder=folder, settings=SETTINGS, space="asvit", series=SERIES, candidates=CANDIDATES,
            reason=reason, wall_seconds=1563.2,
            provenance={
                "seed_run": None, "images": IMAGES, "device": "cpu",
                "versions": {"torch": "2.15.0"}, "command": "asvit scale --budget 3M,5M",
            },
        ).write()  # fmt: skip
    return folder


def words_of(folder: Path) -> str:
    """The page without its pictures."""
    return page(read_scaling(folder), [])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("report") / "run")
    write_scale_report(folder)
    return folder


def test_a_finished_run(finished: Path) -> None:
    text = (finished / "report.html").read_text(encoding="utf-8")
    written = {f"{name}.{kind}" for name in FILES for kind in ("svg", "csv")} | {"report.html"}
    assert written <= {path.name for path in finished.iterdir()}
    assert "Finished: 2 steps to 5M in 26 min." in text
    assert text.count("data:image/svg+xml") == len(FILES)
    assert "Nearest to the budgets" in text
    assert "asvit scale --budget 3M,5M" in text
    assert "net 2,1,1,1 &lt;37&gt;" in text
    assert "it is &lt;singular&gt;" in text
    assert "finer than the published rule" in text


def test_a_result_gives_its_trajectory(finished: Path) -> None:
    result = ScaleResult.read(finished / "result.json")
    assert result.plot("growth").svg == (finished / "growth.svg").read_text(encoding="utf-8")
    assert result.to_dataframe().width.tolist() == [32, 34, 37]
    assert len(result.to_dataframe("candidates")) == len(CANDIDATES)


def test_the_rows_beside_the_figures(finished: Path) -> None:
    found = {
        name: list(csv.DictReader((finished / f"{name}.csv").read_text().splitlines()))
        for name in FILES
    }
    assert [(r["step"], r["stage"], r["depth"]) for r in found["growth"]][:5] == [
        ("0", "1", "1"), ("0", "2", "1"), ("0", "3", "1"), ("0", "4", "1"), ("1", "1", "2"),
    ]  # fmt: skip
    assert [int(r["params"]) for r in found["sizes"]] == [r.params for r in SERIES]
    assert len(found["measures"]) == 2 * len(CANDIDATES)
    # The start has no cloud, a failure no place in one; the last step only grew in width.
    assert [(r["step"], r["stage"], r["chosen"]) for r in found["clouds"]] == [
        ("1", "1", "True"), ("1", "4", "False"), ("2", "0", "True"),
    ]  # fmt: skip


def test_sizes_and_letters_are_told_in_words(finished: Path) -> None:
    text = words_of(finished)
    assert "measured at 224 px" in text
    assert "hidden width of the feed-forward layers" in text  # E


def test_an_end_that_was_not_reached_is_explained(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", reason="nothing larger fits")
    assert "not as near as asked: nothing larger fits." in words_of(folder)


def test_an_unfinished_run_has_its_settings_from_the_journal(tmp_path: Path) -> None:
    text = words_of(make_run(tmp_path / "run", finished=False))
    assert "Not finished: 2 steps on the way to 5M. The same command continues it." in text
    assert "seed 7" in text
    assert "Nearest" not in text


def test_a_run_that_is_being_extended_is_unfinished(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    larger = replace(SETTINGS, budgets=("9M",))
    journal = GrowthJournal(folder / "measured.jsonl")
    journal.start(larger, images=IMAGES, device="cpu", versions=versions())
    assert "on the way to 9M" in words_of(folder)


def test_a_run_that_has_only_started(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", finished=False)
    (folder / "steps.csv").write_text(to_csv([START]))
    (folder / "candidates.csv").write_text(to_csv([START]))
    write_report(folder)
    assert "0 steps" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_finished_run_needs_its_result_alone(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_bytes((finished / "result.json").read_bytes())
    write_scale_report(tmp_path / "run")
    pages = [(folder / "report.html").read_bytes() for folder in (finished, tmp_path / "run")]
    assert pages[0] == pages[1]


def test_with_one_measure_there_is_no_cloud() -> None:
    assert draw.cloud_rows(SERIES, CANDIDATES, {"length_distortion": "higher"}) == []


def test_the_budget_is_a_line_in_its_own_unit() -> None:
    sizes = draw.size_rows(SERIES)
    with style("test"):
        made = draw.draw_sizes(sizes, budgets=[("0.3G", 300_000_000)], unit="macs")
    params, macs = made.axes
    assert len(params.lines) == 1
    assert [line.get_ydata()[0] for line in macs.lines][1:] == [0.3]


def test_clouds_of_many_steps_show_the_first_and_the_last() -> None:
    series = [row(step, (1 + step, 1, 1, 1), 32 + step) for step in range(40)]
    clouds = draw.cloud_rows(series, series, BETTER)
    with style("test"):
        made = draw.draw_clouds(clouds, tuple(BETTER))
    titles = [axes.get_title(loc="left") for axes in made.axes]
    assert (titles[0], titles[-1]) == ("step 1", "step 39")
    assert len([title for title in titles if title]) == draw.MOST_CLOUDS
