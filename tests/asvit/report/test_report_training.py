"""Reports of trainings: tokens, confusions and mistakes."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from asvit.core.answers import Confusion
from asvit.report import training
from asvit.report.style import COLOUR, style
from asvit.runs.reporting import write_report_in as write_report
from asvit.training.metrics import Mistake, Predictions
from tests.asvit.report.sample_runs import write_sample

HOSTILE = "</figure><script>window.ran = 1</script>\"'><img src=x onerror='x'>$x^$"


def jpeg() -> str:
    Image.new("RGB", (5, 4), "red").save(file := io.BytesIO(), "JPEG")
    return base64.b64encode(file.getvalue()).decode()


def predictions(*classes: str) -> Predictions:
    """Half of the images of each class are taken for the class after it."""
    pairs = [(one, two) for one in classes for two in (one, classes[classes.index(one) - 1])]
    mistake = Mistake(f"a/{HOSTILE}.png", classes[0], classes[-1], 91.5, 4.5, jpeg())
    return Predictions(classes, tuple(Confusion(*pair, 3, 50.0) for pair in pairs), (mistake,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_sample("training", tmp_path / "run")


def page(folder: Path, found: Predictions | None) -> str:
    (folder / "predictions.json").unlink(missing_ok=True)
    if found is not None:
        found.write(folder / "predictions.json")
    return write_report(folder)[-1].read_text(encoding="utf-8")


def test_mistakes_are_shown_with_their_images(folder: Path) -> None:
    text = page(folder, predictions("cat", HOSTILE))
    assert text.count("<script>") == 1  # our own
    (picture,) = re.findall(r'<img src="data:image/jpeg;base64,([A-Za-z0-9+/=]*)" alt="">', text)
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (5, 4)
    rows = (folder / "confusion.csv").read_text().splitlines()
    assert rows[:2] == ["label,predicted,images,share", "cat,cat,3,50.0"]


def test_without_predictions_the_report_has_the_rest(folder: Path) -> None:
    text = page(folder, None)
    assert "Loss and accuracy" in text
    assert "Confusion" not in text
    assert "image/jpeg" not in text


def test_predictions_that_are_none_are_refused_in_one_line(folder: Path) -> None:
    (folder / "predictions.json").write_text('{"classes": []}')
    with pytest.raises(ValueError, match=r"predictions\.json cannot be read: it has no") as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)


def test_a_confusion_matrix_uses_the_palette() -> None:
    with style("x"):
        figure = training.draw_confusion(predictions("a", "b", "c"))
        figure.savefig(file := io.StringIO(), format="svg")
    assert set(re.findall(r"#[0-9a-f]{6}\b", file.getvalue())) <= {*COLOUR.values(), "#000000"}
