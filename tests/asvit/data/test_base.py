import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.data import FractalDataset
from asvit.data.base import SubsetImages, divide


@given(
    st.lists(st.integers(2, 30), min_size=1, max_size=6),
    st.floats(0.01, 0.99),
    st.integers(0, 1000),
)
def test_divide(sizes: list[int], held_out: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    stay, held = divide(labels, held_out, seed)
    assert sorted([*stay, *held]) == list(range(len(labels)))
    for label, size in enumerate(sizes):
        count = int((labels[held] == label).sum())
        assert 1 <= count <= size - 1
        assert abs(count - held_out * size) <= 0.5 or count in (1, size - 1)


def test_subset() -> None:
    whole = FractalDataset(3, 4, 8)
    some = SubsetImages(whole, np.array([7, 2]), "to look at")
    assert len(some) == 2
    assert some.labels.tolist() == [1, 2]
    assert some.classes == whole.classes
    assert np.array_equal(some.picture(0), whole.picture(7))
    assert some.name(1) == whole.name(2) != whole.name(7)
    assert some.source.endswith("; 2 of them to look at")
    assert some[1][1] == 2
    with pytest.raises(IndexError):
        some[2]
