"""The report of whole run folders: finished, stopped, with failures, with other measures."""

import csv
import math
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from asvit.report import search_figures, write_search_report
from asvit.report.search import page, read_run
from asvit.report.style import label
from asvit.search import SearchSettings
from asvit.search.journal import open_journal
from asvit.search.result import SearchResult
from asvit.search.rows import Finalist, TrialRow, write_trials
from asvit.search.study import StudyStore, create_study, quiet_optuna
from asvit.spaces.asvit import AsVitSpace
from tests.asvit.runs.stored_results import ORIGIN, RIGHT

FILES = {"entropy", "reward", "measures", "front", "choices"}
NAMES = ("length_distortion", "ntk_condition_number")
ARCHITECTURES = ("8,2,3|4,1,2|4,1,4|4,1,6|32", "4,8,2|2,4,2|2,2,2|2,1,2|16")
NASTY = '<img src=x onerror="alert(1)"> & co'


def trials(count: int, names: tuple[str, ...] = NAMES, *, entropy: bool = True) -> list[TrialRow]:
    return [
        TrialRow(
            number=i,
            architecture=ARCHITECTURES[i % 2],
            params=1000 + i,
            macs=5000 + i,
            values={name: 1.0 + (i * 7 + place) % 11 for place, name in enumerate(names)},
            reward=math.sin(i),
            entropy=15.0 - i if entropy else math.nan,
            state="complete",
            reason="",
        )
        for i in range(count)
    ]


def make_run(
    folder: Path,
    rows: list[TrialRow],
    *,
    names: tuple[str, ...] = NAMES,
    finished: bool = True,
    **settings: object,
) -> Path:
    folder.mkdir()
    write_trials(folder / "trials.csv", rows, names)
    settings_ = SearchSettings.make(proxies=names, **{"steps": max(1, len(rows)), **settings})
    if not finished:
        with quiet_optuna():
            study = create_study(open_journal(folder / "study.journal"), "any", {"x": "higher"})
        StudyStore(study).start(settings_)
        with (folder / "study.journal").open("a") as journal:
            journal.write('{"op_co')  # being written
        return folder
    told = {"versions": {"torch": "2.15.0"}, "command": "asvit search --steps 12"}
    replace(
        RIGHT[SearchResult][0],
        folder=folder,
        settings=settings_,
        seed_architecture=ARCHITECTURES[0],
        values=dict.fromkeys(names, 2.5),
        steps=len(rows),
        front=rows[:1],
        finalists=[
            Finalist(ARCHITECTURES[1], None, True, 10, 20, *[dict.fromkeys(names, 2.25)] * 2, ""),
            Finalist(ARCHITECTURES[0], 3, False, 10, 20, *[dict.fromkeys(names, 2.5)] * 2, ""),
        ],
        wall_seconds=1563.2,
        provenance={**ORIGIN, **told},
        reliability=None,
    ).write()
    return folder


def page_of(folder: Path) -> str:
    """The whole page, with its pictures: a second of work."""
    written = write_search_report(folder)
    assert written[-1] == folder / "report.html"
    return written[-1].read_text(encoding="utf-8")


def words_of(folder: Path) -> str:
    """The page without its pictures."""
    return page(read_run(folder), [])


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished run with its report."""
    folder = make_run(tmp_path_factory.mktemp("report") / "run", trials(12))
    write_search_report(folder)
    return folder


def test_a_finished_run(finished: Path) -> None:
    text = (finished / "report.html").read_text(encoding="utf-8")
    expected = {f"{name}.{kind}" for name in FILES for kind in ("svg", "csv")} | {"report.html"}
    assert {path.name for path in finished.iterdir()} == expected | {"trials.csv", "result.json"}
    assert "Finished: 12 architectures in 26 min." in text
    assert "asvit search --steps 12" in text
    assert "2.15.0" in text
    assert ARCHITECTURES[0] in text
    assert "Measured again on 8 networks each" in text
    assert text.index("Finalists") < text.index(">step 3<") < text.index(">policy<")
    assert text.count("data:image/svg+xml") == len(FILES)
    assert text.index("Versions") > text.index("Trials")


def test_a_result_gives_its_figures_and_its_table(finished: Path, tmp_path: Path) -> None:
    result = SearchResult.read(finished / "result.json")
    picture = result.plot("front")
    assert picture.svg == (finished / "front.svg").read_text(encoding="utf-8")
    assert repr(picture).count("step") <= 1  # not every row
    picture.savefig(tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="unknown figure 'fornt'; did you mean 'front'"):
        result.plot("fornt")
    assert result.to_dataframe().architecture.tolist() == [*ARCHITECTURES] * 6
    assert result.to_dataframe("front").on_front.dtype == bool


def test_an_unfinished_run_says_how_far_it_came(tmp_path: Path) -> None:
    text = words_of(make_run(tmp_path / "run", trials(3), finished=False, steps=50))
    assert "Not finished: 3 of 50 architectures. The same command continues it." in text
    assert "Seed architecture" not in text
    assert "controller reinforce" in text


def test_a_finished_run_that_is_being_extended_is_unfinished(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", trials(3))
    write_trials(folder / "trials.csv", trials(5), NAMES)
    assert "Not finished: 5 architectures." in words_of(folder)


def test_a_corrupt_journal_leaves_what_the_table_has(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", trials(3), finished=False)
    (folder / "study.journal").write_text("garbage\nmore\n")
    assert "Not finished: 3 architectures." in words_of(folder)
    (folder / "trials.csv").unlink()
    with pytest.raises(ValueError, match=r"study\.journal, line 1 is not a journal record"):
        read_run(folder)


def test_a_table_can_be_missing_before_the_first_step(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [], finished=False, steps=9)
    (folder / "trials.csv").unlink()
    assert "Not finished: 0 of 9 architectures." in words_of(folder)


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 of 9 architectures"), (1, "Finished: 1 architecture in")]
)
def test_few_trials(tmp_path: Path, count: int, told: str) -> None:
    folder = make_run(tmp_path / "run", trials(count), finished=count > 0, steps=9)
    assert told in page_of(folder)


def test_failed_trials_are_marked_with_their_reason(tmp_path: Path) -> None:
    rows = trials(4)
    rows[1] = replace(
        rows[1], values={**rows[1].values, NAMES[1]: math.nan}, state="failed", reason=NASTY
    )
    text = words_of(make_run(tmp_path / "run", rows))
    assert text.count('<tr class="failed">') == 1
    assert NASTY not in text
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt; &amp; co" in text


def test_every_trial_failed(tmp_path: Path) -> None:
    rows = [
        replace(row, values=dict.fromkeys(NAMES, math.nan), state="failed", reason="singular")
        for row in trials(3)
    ]
    page_of(make_run(tmp_path / "run", rows, finished=False))
    figure = (tmp_path / "run" / "front.svg").read_text(encoding="utf-8")
    assert "no architecture has both measures" in figure


@pytest.mark.parametrize(
    "names",
    [
        ("length_distortion",),
        ("ntk_condition_number", "length_distortion", "gauss_map_length"),
        ("gauss_map_length", "length_distortion"),
        ("measure_of_tomorrow", "length_distortion"),
    ],
)
def test_other_measures(tmp_path: Path, names: tuple[str, ...]) -> None:
    text = page_of(make_run(tmp_path / "run", trials(6, names), names=names))
    assert all(label(name) in text for name in names)
    rows = rows_of(tmp_path / "run" / "measures.csv")
    assert [row["measure"] for row in rows[::6]] == list(names)


def test_sizes_that_are_measures_have_one_column(tmp_path: Path) -> None:
    names = ("params", "length_distortion")
    text = words_of(make_run(tmp_path / "run", trials(3, names), names=names))
    for head in re.findall(r"<thead>.*?</thead>", text, re.DOTALL):
        words = re.sub(r"<[^>]+>", " ", head).split()
        if "architecture" not in words:
            continue
        assert words.count("parameters") + words.count("params") == 1


def test_a_controller_without_a_policy_has_no_entropy(tmp_path: Path) -> None:
    rows = trials(6, entropy=False)
    page_of(make_run(tmp_path / "run", rows, controller="random"))
    assert "no policy" in (tmp_path / "run" / "entropy.svg").read_text(encoding="utf-8")
    assert (tmp_path / "run" / "entropy.csv").read_text() == "step,entropy\n"


def test_sizes_and_letters_are_told_in_words(finished: Path) -> None:
    text = (finished / "report.html").read_text(encoding="utf-8")
    assert "controller reinforce · 224 px · seed" in text
    assert "in the last 50 architectures drawn" in text
    for name, words in AsVitSpace.legend.items():
        assert f"<td>{name}</td>" in text
        assert words in text


def test_an_unknown_space_has_no_choices(tmp_path: Path) -> None:
    page_of(make_run(tmp_path / "run", trials(6), space="space-of-tomorrow"))
    assert (tmp_path / "run" / "choices.csv").read_text().count("\n") == 1


def test_a_long_table_is_cut_and_says_so(tmp_path: Path) -> None:
    text = words_of(make_run(tmp_path / "run", trials(1005)))
    assert "The last 1000 of 1005 architectures; trials.csv has all" in text


def test_figures_of_a_long_search_are_thinned_but_keep_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_figures, "MOST_STEPS", 20)
    rows = trials(400)
    lone = {NAMES[0]: 50.0, NAMES[1]: 0.5}  # the front, at a step that even spaces miss
    rows[150] = replace(rows[150], values=lone)
    folder = make_run(tmp_path / "run", rows)
    text = page_of(folder)
    assert "show 20 of 400 architectures, evenly spaced, and those of the front" in text
    points = rows_of(folder / "front.csv")
    assert [int(row["step"]) for row in points if row["on_front"] == "True"] == [150]
    for name in ("front", "entropy", "reward", "measures"):
        steps = {int(row["step"]) for row in rows_of(folder / f"{name}.csv")}
        assert {0, 150, 399} <= steps
        assert 20 <= len(steps) <= 20 + 1 + 2 * len(NAMES), name
    medians = [float(row["median"]) for row in rows_of(folder / "measures.csv")]
    assert medians[19 + 2] == statistics.median(r.values[NAMES[0]] for r in rows[-20:])


def test_rows_beside_the_figures_are_what_they_show(finished: Path) -> None:
    rows = rows_of(finished / "front.csv")
    assert list(rows[0]) == ["step", "architecture", "x", "y", "on_front"]
    assert [int(row["step"]) for row in rows] == list(range(12))
    shares = rows_of(finished / "choices.csv")
    assert {row["dimension"] for row in shares} >= {"K1", "E4"}
    total = sum(
        float(r["frequency"]) for r in shares if (r["dimension"], r["step"]) == ("K1", "11")
    )
    assert total == pytest.approx(1.0)
