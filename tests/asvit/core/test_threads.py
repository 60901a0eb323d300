import time

import pytest

from asvit.core.threads import in_order


def test_results_are_in_order_however_long_each_takes() -> None:
    def work(item: int) -> int:
        time.sleep(0.01 * (item % 3))
        return item * item

    assert list(in_order(work, range(100))) == [item * item for item in range(100)]
    assert not list(in_order(work, ()))


def test_an_error_comes_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        return item

    seen = list[int]()
    with pytest.raises(ValueError, match="five"):
        seen.extend(in_order(work, range(9)))
    assert seen == [0, 1, 2, 3, 4]
