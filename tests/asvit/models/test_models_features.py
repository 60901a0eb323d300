"""Which stages timm asks for."""

import pytest

from asvit.models._features import taken_stages


@pytest.mark.parametrize(
    ("indices", "expected"),
    [(None, [0, 1, 2, 3]), (2, [2, 3]), ([0, 2], [0, 2]), ((-1,), [3]), ((1, -4), [1, 0])],
)
def test_the_three_ways_to_ask(indices, expected):
    assert taken_stages(indices, 4) == expected


@pytest.mark.parametrize("indices", [0, 5, [4], [-5], []])
def test_stages_that_do_not_exist(indices):
    with pytest.raises(ValueError, match=r"use \d to \d"):
        taken_stages(indices, 4)
