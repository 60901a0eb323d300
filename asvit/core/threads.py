"""Work in threads whose results come in order, for reading and decoding files."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 8  # Pillow, zlib and hashlib compute beside each other, and disks answer together
_AHEAD = 32  # items begun or done that nobody has taken


def in_order(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What ``work`` gives for each item, in order, computed a little ahead by a few threads.

    An error of ``work`` is raised in its turn.
    """
    waiting, due = iter(items), deque[Future[R]]()
    with ThreadPoolExecutor(_THREADS) as pool:
        due.extend(pool.submit(work, item) for item in islice(waiting, _AHEAD))
        try:
            while due:
                result = due.popleft().result()
                due.extend(pool.submit(work, item) for item in islice(waiting, 1))
                yield result
        finally:
            for future in due:
                future.cancel()


def or_reason(work: Callable[[T], R]) -> Callable[[T], R | str]:
    """``work`` that gives the text of its ValueError in place of raising it."""

    def result(item: T) -> R | str:
        try:
            return work(item)
        except ValueError as error:
            return str(error)

    return result
