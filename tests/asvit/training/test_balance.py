"""Uneven classes: orders that take equally many images of each."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asvit.training.loaders import balanced_order

sizes = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def labels_of(counts: list[int]) -> np.ndarray:
    """Labels in a mixed order."""
    return np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))


@given(counts=sizes, wanted=st.integers(0, 60), seed=st.integers(0, 9))
def test_an_order_has_as_many_images_of_each_class(
    counts: list[int], wanted: int, seed: int
) -> None:
    labels = labels_of(counts)
    indices, times = balanced_order(labels, wanted, np.random.default_rng(seed))
    assert indices.shape == times.shape == (wanted,)
    taken = Counter(labels[indices].tolist())
    each = [taken[label] for label in range(len(counts))]
    assert max(each) - min(each) <= 1
    dealt = list(zip(indices.tolist(), times.tolist(), strict=True))
    assert len(set(dealt)) == wanted  # every time of an image has a number of its own
    for label in range(len(counts)):  # an image comes again once all of its class have come
        own = Counter(indices[labels[indices] == label].tolist())
        often = [own[at] for at in np.flatnonzero(labels == label).tolist()]
        assert max(often) - min(often) <= 1
        for at, number in own.items():
            assert sorted(times[indices == at].tolist()) == list(range(number))
