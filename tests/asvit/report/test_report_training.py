"""Reports of trainings, supernets and reference tables."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from asvit.core.results import Result
from asvit.reference.build_result import BuildResult, BuiltRow
from asvit.report import reference, training
from asvit.report.style import COLOUR, style
from asvit.runs.run import write_report
from asvit.training.metrics import Confusion, Mistake, Predictions
from asvit.training.result import TrainResult
from asvit.training.supernets.settings import SupernetResult
from tests.asvit.runs.stored_results import RIGHT, epoch

HOSTILE = "</figure><script>window.ran = 1</script>\"'><img src=x onerror='x'>$x^$"
STATES = {
    TrainResult: "metrics.jsonl",
    SupernetResult: "losses.csv",
    BuildResult: "trainings.jsonl",
}


def jpeg() -> str:
    Image.new("RGB", (5, 4), "red").save(file := io.BytesIO(), "JPEG")
    return base64.b64encode(file.getvalue()).decode()


def predictions(*classes: str) -> Predictions:
    """Half of the images of each class are taken for the class after it."""
    pairs = [(one, two) for one in classes for two in (one, classes[classes.index(one) - 1])]
    mistake = Mistake(f"a/{HOSTILE}.png", classes[0], classes[-1], 91.5, 4.5, jpeg())
    return Predictions(classes, tuple(Confusion(*pair, 3) for pair in pairs), (mistake,))


def page(folder: Path, result: Result, kept: Predictions | None = None) -> str:
    folder.mkdir()
    replace(result, folder=folder).write()
    (folder / STATES[type(result)]).touch()
    if kept is not None:
        kept.write(folder / "predictions.json")
    made = write_report(folder)
    assert all(path.is_file() for path in made)
    return made[-1].read_text(encoding="utf-8")


def trained() -> TrainResult:
    rows = (
        replace(epoch(1), tokens="(16,5)", train_top1=20.0),
        replace(epoch(2), tokens="(4,1)", train_top1=30.0, average_top1=40.0, average_loss=1.0),
    )
    stages = [
        {"stride": 4 * n, "dilation": 1, "epochs": 1, "macs": 99, "fraction": 1 / n,
         "seconds": 0.5, "time_fraction": 1 / n}
        for n in (4, 1)
    ]  # fmt: skip
    saved = {"macs": 0.375, "time": 0.375, "published": 0.4}
    return replace(RIGHT[TrainResult][0], history=rows, stages=tuple(stages), saved=saved)


def test_a_training_has_epochs_tokens_confusion_and_mistakes(tmp_path: Path) -> None:
    text = page(tmp_path / "run", trained(), predictions("cat", HOSTILE))
    for words in ("Loss and accuracy", "Learning rate and throughput", "Confusion matrix"):
        assert words in text
    assert "saved 37.5% of the multiply-adds" in text
    assert f"cat, taken for {HOSTILE} (92 %)" in unescape(text)
    assert text.count("<script>") == 1  # our own
    (picture,) = re.findall(r'<img src="data:image/jpeg;base64,([A-Za-z0-9+/=]*)" alt="">', text)
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (5, 4)
    assert "img-src data:;" in text
    assert len(re.findall(r"<img\b", text)) == 1 + text.count("data:image/svg+xml")
    rows = (tmp_path / "run" / "confusion.csv").read_text().splitlines()
    assert rows[:2] == ["label,predicted,images", "cat,cat,3"]


def test_of_many_classes_the_most_confused_are_listed(tmp_path: Path) -> None:
    names = tuple(f"class {number}" for number in range(training.MOST_CLASSES + 1))
    text = page(tmp_path / "run", trained(), predictions(*names))
    assert "Confusion matrix" not in text
    cells = re.findall(r"<td>(class \d+)</td><td>(class \d+)</td>", text)
    assert len(cells) == training.MOST_PAIRS
    assert cells[1] == ("class 1", "class 0")


def test_without_predictions_the_report_has_the_rest(tmp_path: Path) -> None:
    text = page(tmp_path / "run", RIGHT[TrainResult][0])
    assert "Loss and accuracy" in text
    assert "Confusion" not in text
    assert "Worst mistakes" not in text


def test_predictions_that_are_none_are_refused_in_one_line(tmp_path: Path) -> None:
    page(tmp_path / "run", trained(), predictions("a", "b"))
    (tmp_path / "run" / "predictions.json").write_text('{"classes": []}')
    with pytest.raises(ValueError, match=r"predictions\.json cannot be read: it has no") as caught:
        write_report(tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_supernet_has_its_loss_and_accuracies(tmp_path: Path) -> None:
    text = page(tmp_path / "run", RIGHT[SupernetResult][0])
    assert "1.0 to 3.0 %, median 2.0" in text
    assert (tmp_path / "run" / "loss.csv").read_text() == "epoch,loss\n1,2.0\n2,1.0\n"


def table(*accuracies: tuple[float, ...]) -> BuildResult:
    result = RIGHT[BuildResult][0]
    rows = [BuiltRow(f"net {at}", 10, 20, found) for at, found in enumerate(accuracies)]
    settings = replace(result.settings, n=len(rows), seeds=len(accuracies[0]))
    return replace(result, rows=rows, settings=settings)


def test_a_table_has_its_spread_and_the_agreement_of_its_seeds(tmp_path: Path) -> None:
    text = page(tmp_path / "two", table((50.0, 51.0), (60.0, 58.0), (70.0, float("nan"))))
    assert "50.5 to 59.0 %" in text
    assert "Agreement between seeds" in text
    assert (tmp_path / "two" / "seeds.csv").read_text().splitlines()[1] == "net 0,0,50.0"
    assert "Agreement" not in page(tmp_path / "one", table((50.0,), (60.0,)))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: training.draw_epochs(trained().history, training._CURVES),
        lambda: training.draw_confusion(predictions("a", "b", "c")),
        lambda: reference.draw_spread(table((1.0, 2.0), (3.0, 5.0)).rows),
        lambda: reference.draw_seeds(table((1.0, 2.0), (3.0, 5.0)).rows),
    ],
)
def test_figures_use_the_palette(draw: Callable[[], Figure]) -> None:
    buffer = io.StringIO()
    with style("x"):
        draw().savefig(buffer, format="svg")
    used = set(re.findall(r"#[0-9a-f]{6}\b", buffer.getvalue()))
    assert used <= {*COLOUR.values(), "#000000"}


def test_values_that_are_missing_are_no_lines() -> None:
    old, new = (training.draw_epochs(r, training._CURVES) for r in ([epoch(1)], trained().history))
    assert [len(axes.lines) for axes in old.axes] == [2, 1]  # no average, no training accuracy
    assert [len(axes.lines) for axes in new.axes] == [4, 4]  # with the change of tokens
