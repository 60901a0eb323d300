import threading
import time

import pytest

from asvit.core.threads import in_order


def test_results_are_in_order_however_long_each_takes() -> None:
    def work(item: int) -> int:
        time.sleep(0.01 * (item % 3))
        return item * item

    assert list(in_order(work, range(100))) == [item * item for item in range(100)]
    assert not list(in_order(work, ()))


def test_several_threads_work_a_little_ahead() -> None:
    begun, together = [], threading.Barrier(4, timeout=10)

    def work(item: int) -> int:
        if item < 4:
            together.wait()  # broken unless four are in it at once
        begun.append(item)
        return item

    results = in_order(work, range(10_000))
    assert next(results) == 0
    time.sleep(0.1)
    assert 4 <= len(begun) < 100
    results.close()
    assert len(begun) < 100


def test_an_error_comes_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        return item

    seen = list[int]()
    with pytest.raises(ValueError, match="five"):
        seen.extend(in_order(work, range(9)))
    assert seen == [0, 1, 2, 3, 4]
