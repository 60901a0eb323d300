"""Settings and journal of a growth."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from asvit.growth.journal import GrowthJournal
from asvit.growth.settings import ScaleSettings
from proxies import Score
from scaling import Shape

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
SETTINGS = ScaleSettings(SEED)
IMAGES = {"source": "fractal", "digest": "abc"}
SHAPE = Shape((1, 2, 1, 1), 8)
SCORES = {
    "length_distortion": Score(1 / 3, 0.1, (0.25, 5 / 12), "higher"),
    "ntk_condition_number": Score(math.nan, math.nan, (7.0, math.nan), "lower", "it is singular"),
}


def test_what_was_measured_is_read_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    journal = GrowthJournal(path)
    journal.start(SETTINGS, images=IMAGES, device="cpu", versions={})
    journal[SHAPE] = SCORES
    journal = GrowthJournal(path)
    assert str(journal.get(SHAPE)) == str(SCORES)  # NaN is not equal to itself, but looks it
    assert journal.get(Shape((9, 9, 9, 9), 8)) is None
    start, measured = (
        json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()
    )
    assert set(start) == {
        *("crc32", "schema_version", "kind", "settings", "images", "device", "versions")
    }
    assert set(measured) == {"crc32", "depths", "width", "scores", "seconds"}


def test_budgets_are_kept_in_one_form() -> None:
    settings = ScaleSettings(SEED, budgets="88e6, 30M,30000000")
    assert settings.budgets == ("30M", "88M")
    assert [budget.amount for budget in settings.limits] == [30_000_000, 88_000_000]


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"budgets": "88"}, "did you mean 88M"),
        ({"budgets": "30M,22G"}, "two units"),
        ({"budgets": ()}, "no budget"),
        ({"proxies": ()}, "proxies must name at least one measure"),
        ({"radius": -1}, "radius must be"),
        ({"architecture": ""}, "architecture must be a name"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        ScaleSettings(**{"architecture": SEED, **given_})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
