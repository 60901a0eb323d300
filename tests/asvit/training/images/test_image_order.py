from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.training.images.mixing import share
from asvit.training.images.order import Shares, TrainingOrder, epoch_order


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 4), st.integers(0, 9))
def test_an_epoch_deals_each_image_with_all_its_copies(
    count: int, batch_size: int, copies: int, seed: int
) -> None:
    indices, numbers = epoch_order(count, batch_size, copies=copies, seed=seed)
    assert indices.shape == numbers.shape == (count // batch_size, batch_size)
    dealt = list(zip(indices.flatten().tolist(), numbers.flatten().tolist(), strict=True))
    assert len(set(dealt)) == len(dealt)
    times = np.unique(indices, return_counts=True)[1].tolist()
    assert sum(number < copies for number in times) <= 1  # the last one at most is cut short
    assert set(numbers.flatten().tolist()) <= set(range(copies))


def test_copies_by_hand() -> None:
    """Nine images, six a batch, three copies: two images a batch, a b a b a b."""
    indices, numbers = epoch_order(9, 6, copies=3, seed=0)
    assert numbers.tolist() == [[0, 0, 1, 1, 2, 2]]
    first, second = indices[0, :2]
    assert first != second
    assert indices[0].tolist() == [first, second] * 3


@pytest.mark.parametrize("world", [2, 3, 4, 8])
def test_copies_go_to_several_processes(world: int) -> None:
    size = 12 * world
    indices, _ = epoch_order(size, size, copies=3, seed=0)
    where = np.empty(size, np.int64)
    for rank in range(world):
        where[share(size, rank, world)] = rank
    for image in np.unique(indices):
        assert len(set(where[indices[0] == image].tolist())) > 1


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_any_number_of_processes_has_the_same_batches(world: int, copies: int) -> None:
    def steps(rank: int, world: int) -> list[list[tuple[int, int]]]:
        order = TrainingOrder(50, 8, seed=5, copies=copies, rank=rank, world=world)
        order.epoch = 2
        return [
            list(zip(step.indices.tolist(), step.copies.tolist(), strict=True)) for step in order
        ]

    parts = [steps(rank, world) for rank in range(world)]
    for number, whole in enumerate(steps(0, 1)):
        assert sorted(chain.from_iterable(part[number] for part in parts)) == sorted(whole)


def test_epochs_and_seeds_differ() -> None:
    def first(seed: int, epoch: int) -> list[int]:
        order = TrainingOrder(50, 50, seed=seed, copies=1, rank=0, world=1)
        order.epoch = epoch
        return next(iter(order)).indices.tolist()  # type: ignore[no-any-return]

    orders = [first(0, 0), first(0, 1), first(1, 0)]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert first(0, 1) == orders[1]


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 5))
def test_validation_shares_cover_every_image_once(count: int, batch_size: int, world: int) -> None:
    seen: list[int] = []
    for rank in range(world):
        shares = Shares(count, batch_size, rank=rank, world=world)
        steps = list(shares)
        assert len(steps) == len(shares)
        assert all(1 <= len(step.indices) <= batch_size for step in steps)
        seen += [index for step in steps for index in step.indices.tolist()]
    assert sorted(seen) == list(range(count))
