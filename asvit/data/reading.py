"""Reading many images beside each other, and what is said of those that cannot be read."""

import logging
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Protocol, TypeVar

from asvit.core.threads import in_order, or_reason
from asvit.data.base import Progress
from proxies.text import listed

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)

_PART = 256  # files that a thread opens in a row
_MOST_LINES = 100


class Images(Sized, Protocol):
    """Images whose headers can be read, as those of :class:`asvit.data.base.LabelledImages`."""

    def check(self, index: int) -> None:
        """Read the header of an image; a ValueError says why it cannot be read."""

    def name(self, index: int) -> str:
        """The name of an image, for messages."""


def read_each(
    read: Callable[[int], T], indices: Sequence[int], progress: Progress | None = None
) -> Iterator[tuple[int, T | str]]:
    """Each index with what ``read`` gives for it, or the text of its ValueError, in order."""
    results = zip(indices, in_order(or_reason(read), indices), strict=True)
    for done, result in enumerate(results, 1):
        yield result
        if progress is not None:
            progress(done, len(indices))


def in_parts(
    work: Callable[[T], R], items: Sequence[T], progress: Progress | None = None
) -> Iterator[R]:
    """What ``work``, which is short, gives for each item, in order, by threads."""

    def of_part(start: int) -> list[R]:
        return [work(item) for item in items[start : start + _PART]]

    done = 0
    for results in in_order(of_part, range(0, len(items), _PART)):
        done += len(results)
        if progress is not None:
            progress(done, len(items))
        yield from results


def unreadable_images(
    images: Images, indices: Sequence[int], *, progress: Progress | None = None
) -> list[tuple[str, str]]:
    """Name of each of these images whose header cannot be read, and why."""
    checked = in_parts(or_reason(images.check), indices, progress)
    return [(images.name(at), why) for at, why in zip(indices, checked, strict=True) if why]


def refuse_unreadable(bad: Sequence[tuple[str, str]], total: int, advice: str = "") -> None:
    """Log why each of these images cannot be read, and raise an error that names them.

    ``bad`` has names and reasons of some of ``total`` images; ``advice`` is beside repairing them.
    """
    if not bad:
        return
    bad = [*dict.fromkeys(bad)]
    do = f"repair or remove {'it' if len(bad) == 1 else 'them'}{advice}"
    names, reasons = zip(*bad, strict=True)
    if len(bad) == 1:
        raise ValueError(f"{reasons[0]}; {do}")
    for reason in reasons[:_MOST_LINES]:
        _log.warning("%s", reason)
    raise ValueError(f"{len(bad)} of {total} images cannot be read; {do}: {listed(names)}")
