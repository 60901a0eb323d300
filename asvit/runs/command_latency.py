"""Latency on another device: what a program of the user's prints for a network's ONNX file."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Final

import numpy as np

from asvit.core.programs import output_of
from asvit.data.base import file_digest
from asvit.measuring.latency import COMMAND, Latency
from proxies.text import shown

logger = logging.getLogger(__name__)

REPEATS: Final = 3  # runs of the program for a network
SECONDS: Final = 300.0  # that one of them may take

_known: dict[tuple[str, str, int, int], Latency] = {}  # by command, digest of the file, and pass
_announced = set[str]()


def command_latency(command: str, path: Path, *, batch: int, image_size: int) -> Latency:
    """The median of what a command prints for an ONNX file, in milliseconds, and its spread.

    The program is run three times. A file with the same content is not timed twice in a process,
    but after :func:`forget`.

    Args:
        command: A program and its arguments, with ``{onnx}`` in the file's place; it is run
            without a shell and has to print one number, of milliseconds.
        path: The file.
        batch: Images in the pass that it is of, for the result.
        image_size: Their side in pixels, likewise.

    Raises:
        OSError: If the program cannot be run, takes more than five minutes, fails, or prints
            anything else. What called it stops: a network that could not be timed is neither
            slow nor fast.
    """
    key = command, file_digest(path), batch, image_size
    if key in _known:
        return _known[key]
    if command not in _announced:
        logger.warning("networks are timed by your program: %s", shown(command))
        _announced.add(command)
    times = [
        _milliseconds(command, output_of(command, str(path), SECONDS)) for _ in range(REPEATS)
    ]
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75])
    _known[key] = Latency(
        milliseconds=float(median),
        spread=float(high - low),
        relative=1.0,
        passes=REPEATS,
        busy=1.0,
        device=command,
        threads=0,
        runtime=COMMAND,
        batch=batch,
        image_size=image_size,
    )
    return _known[key]


def forget(command: str | None) -> None:
    """Have the command time again what it has timed: networks were chosen by these times."""
    for key in [key for key in _known if key[0] == command]:
        del _known[key]


def _milliseconds(command: str, printed: str) -> float:
    """The number that a program has printed."""
    text = printed.strip()
    try:
        number = float(text.removesuffix("ms"))
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ChildProcessError(
            f"{shown(command)} printed {shown(text)}; it has to print one number above 0, the "
            "milliseconds of a pass"
        )
    return number
