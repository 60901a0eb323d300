import math

import pytest

from asvit.core.progress import Progress, image_progress


@pytest.mark.parametrize(
    ("progress", "part", "remaining"),
    [
        (Progress("step", 50, 200, seconds=100.0), 0.25, 300.0),
        (Progress("step", 101, 200, resumed=100, seconds=3.0), 0.505, 297.0),
        (Progress("step", 100, 200, resumed=100), 0.5, math.nan),  # none of this session yet
        (Progress("step", 3, None, seconds=3.0), math.nan, math.nan),
        (Progress("step", 0, 0), math.nan, math.nan),
        (Progress("step", 3, None, seconds=30.0, share=0.25), 0.25, 90.0),
        (Progress("step", 3, 9, seconds=30.0, share=0.5, share_resumed=0.25), 0.5, 60.0),
        (Progress("step", 200, 200, seconds=9.0), 1.0, 0.0),
        (Progress("step", 50, 200, seconds=100.0, after=20), 0.25, 340.0),
        (Progress("step", 200, 200, seconds=400.0, after=20), 1.0, 40.0),
    ],
)
def test_part_and_remaining_time(progress: Progress, part: float, remaining: float) -> None:
    assert progress.part == pytest.approx(part, nan_ok=True)
    assert progress.remaining == pytest.approx(remaining, nan_ok=True)


def test_images_are_a_unit_of_their_own() -> None:
    told: list[Progress] = []
    image_progress(told.append)(3, 16)
    assert told == [Progress("image", 3, 16)]
