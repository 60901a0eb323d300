import json
import math
from pathlib import Path

import pytest

from asvit.growth import ScaleSettings
from asvit.growth.journal import GrowthJournal
from proxies import Score
from scaling import Shape

SETTINGS = ScaleSettings("8,2,3|4,1,2|4,1,4|4,1,6|32")
IMAGES = {"source": "fractal", "digest": "abc"}
SHAPE = Shape((1, 2, 1, 1), 8)
SCORES = {
    "length_distortion": Score(1 / 3, 0.1, (0.25, 5 / 12), "higher"),
    "ntk_condition_number": Score(math.nan, math.nan, (7.0, math.nan), "lower", "it is singular"),
}


def test_what_was_measured_is_read_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    journal = GrowthJournal(path)
    journal.start(SETTINGS, images=IMAGES, device="cpu")
    journal[SHAPE] = SCORES
    journal = GrowthJournal(path)
    assert str(journal.get(SHAPE)) == str(SCORES)  # NaN is not equal to itself, but looks it
    assert journal.get(Shape((9, 9, 9, 9), 8)) is None
    start, measured = (
        json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()
    )
    assert set(start) == {"schema_version", "kind", "settings", "images", "device"}
    assert set(measured) == {"depths", "width", "scores", "seconds"}
