"""What a test says in tables."""

import pytest

from asvit.evaluation.tables import pictures_table


@pytest.mark.parametrize(
    ("number", "title"),
    [
        (3, "left out"),
        (20, "left out"),
        (2345, "left out: the first 20 of 2,345, all of which the result has"),
    ],
)
def test_many_pictures_that_are_left_out_do_not_fill_the_screen(number: int, title: str) -> None:
    reasons = {f"{place}.png": "it is truncated" for place in range(number)}
    table = pictures_table(reasons, "left out")
    assert table.title == title
    assert table.rows == list(reasons.items())[:20]
