"""Runs beside each other: of every kind, in pairs where they can be, and with right intervals."""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from asvit.core.answers import Answer
from asvit.core.estimates import Estimate
from asvit.core.results import NO_FOLDER
from asvit.core.summary import Table
from asvit.designs.result import DesignResult
from asvit.reference.result import CorrelationResult
from asvit.runs.comparing import Comparison, compare, read_result
from asvit.runs.reporting import show_summary
from asvit.search.result import Confirmed, SearchResult
from asvit.statistics.intervals import (
    paired_difference,
    proportion,
    stratified_difference,
)
from asvit.training.result import TrainResult
from asvit.use.result import EvaluationResult
from tests.asvit.runs.stored_results import RIGHT, Kind, write_beside

each = pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)


def stored(kind: Kind, folder: Path, **changes: Any) -> Path:
    """A finished run of a kind."""
    folder.mkdir()
    dataclasses.replace(RIGHT[kind][0], folder=folder, **changes).write()
    write_beside(folder)
    (folder / ".kind").write_text(f"{kind.kind}\n")
    return folder


def difference(found: Comparison, measure: str, run: int = 2) -> Estimate:
    (one,) = [each for each in found.differences if (each.measure, each.run) == (measure, run)]
    return one.estimate


def shown(found: Comparison) -> str:
    screen = Console(file=io.StringIO(), width=200)
    show_summary(found.summary(), screen)
    text: str = screen.file.getvalue()
    return text


@each
def test_every_kind_is_compared(kind: Kind, tmp_path: Path) -> None:
    first, second = (stored(kind, tmp_path / name) for name in ("first", "second"))
    found = compare(first, str(second / "result.json"))
    assert found.settings == {}
    assert [type(run) for run in found.runs] == [kind, kind]
    assert {"wall_seconds"} < found.results.keys()
    numbers = [name for name, values in found.results.items() if values[0] is not None]
    assert len(numbers) > 3
    assert found.differences
    assert all(one.estimate.value == 0 for one in found.differences)
    assert len({one.measure for one in found.differences}) == len(found.differences)
    text = shown(found)
    assert "no settings differ" in text
    assert str(first) in text
    json.dumps(found.to_json(), allow_nan=False)
    assert len(found.to_dataframe()) == 2


@each
def test_what_differs_in_a_kind_is_told(kind: Kind, tmp_path: Path) -> None:
    right = RIGHT[kind][0]
    name, changed = {
        DesignResult: ("hours", 2.0),
        EvaluationResult: ("batch_size", 7),
        CorrelationResult: ("image_size", 64),
    }.get(kind, ("seed", 7))
    settings = dataclasses.replace(right.settings, **{name: changed})
    other = stored(kind, tmp_path / "other", settings=settings, wall_seconds=100.0)
    found = compare(stored(kind, tmp_path / "one"), other)
    assert found.settings == {name: (getattr(right.settings, name), changed)}
    assert difference(found, "wall_seconds").value == 100.0 - right.wall_seconds
    (table, *_) = [part for part in found.summary() if isinstance(part, Table)]
    assert table.rows[0][0] == name


def a_test(answers: Sequence[Answer], digest: str = "12", **changes: Any) -> EvaluationResult:
    """A test with these answers, in memory."""
    result: EvaluationResult = RIGHT[EvaluationResult][0]
    origin = {**result.provenance, "images": {"source": "pets", "digest": digest}}
    return dataclasses.replace(
        result, answers=tuple(answers), provenance=origin, folder=NO_FOLDER, **changes
    )


def answers(right: Sequence[bool], labels: str, digests: bool = True, start: int = 0) -> Any:
    return [
        Answer(
            f"{label}/{place}.png", label, label if is_right else "?", 0.5,
            digest=f"{place:02d}" * 32 if digests else "",
        )
        for place, (is_right, label) in enumerate(zip(right, labels, strict=True), start)
    ]  # fmt: skip


LABELS = "aaaaaabbbc"
OURS = [True, True, True, True, True, False, True, True, False, True]
THEIRS = [True, False, True, True, False, False, True, False, True, False]


@pytest.mark.parametrize("digests", [True, False])
def test_accuracies_of_the_same_pictures_are_compared_in_pairs(digests: bool) -> None:
    one, other = answers(THEIRS, LABELS, digests), answers(OURS, LABELS, digests)
    found = compare(a_test(one), a_test(other[::-1]))  # in any order
    apart, whole = difference(found, "accuracy"), paired_difference(OURS, THEIRS)
    assert apart.value == pytest.approx(30)
    assert apart.interval == pytest.approx([100 * end for end in whole.interval])
    assert (apart.cases, apart.p) == (10, whole.p)
    strata = stratified_difference(OURS, THEIRS, [*LABELS])
    balanced = difference(found, "balanced_accuracy")
    assert balanced.value == pytest.approx(100 * strata.value)
    assert balanced.interval == pytest.approx([100 * end for end in strata.interval])
    assert "accuracy, balanced accuracy: in pairs on 10 pictures that both tested" in shown(found)
    values = found.results["accuracy"]
    assert [value.value for value in values] == [50, 80]
    assert values[1].low == pytest.approx(100 * proportion(8, 10).low)


def test_runs_of_several_kinds_are_compared_by_what_they_have_in_common(tmp_path: Path) -> None:
    design = stored(DesignResult, tmp_path / "design")  # its predictions.csv is that of the test
    test = stored(EvaluationResult, tmp_path / "test")
    training = stored(TrainResult, tmp_path / "training")
    found = compare(design, test, training)
    apart = [difference(found, "accuracy", run) for run in (2, 3)]
    assert [one.cases for one in apart] == [3, 3]
    assert "top1" not in found.results
    assert found.results["architecture"][0] == RIGHT[DesignResult][0].architecture
    assert "hand_made.accuracy" not in found.results  # of the design alone
    assert "hours" not in found.settings
    (training / "predictions.csv").unlink()
    assert compare(training, training).results["accuracy"] == (10.0, 10.0)


def test_fresh_trainings_of_searches_are_compared_with_their_intervals(tmp_path: Path) -> None:
    runs = [
        stored(SearchResult, tmp_path / name, confirmed=Confirmed(*ends, 3))
        for name, ends in (("one", (70.0, 66.0, 74.0)), ("other", (75.0, 72.0, 78.0)))
    ]
    apart = difference(compare(*runs), "confirmed.mean")
    assert (apart.value, apart.level) == (5.0, 0.9)
    assert apart.interval == pytest.approx((0.0, 10.0))
    assert "confirmed.low" not in compare(*runs).results
    line = next(one for one in shown(compare(*runs)).splitlines() if "confirmed.mean" in one)
    assert "70.000 [66.00, 74.00] (90 %)" in line
    assert line.count("] (90 %)") == 3  # of both, and of their difference


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    run = stored(SearchResult, tmp_path / "run")
    with pytest.raises(ValueError, match=r"1 run\(s\) to compare; name two or more"):
        compare(run)
    with pytest.raises(FileNotFoundError, match=r"none is no run folder of asvit; name one"):
        compare(run, tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no run folder of asvit"):
        read_result(tmp_path)
    (run / "result.json").unlink()
    with pytest.raises(FileNotFoundError, match="has no finished search yet; the same asvit sear"):
        read_result(run)
    (run / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"result\.json is not the result of a search"):
        read_result(run)
