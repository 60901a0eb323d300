"""Campaigns against runs: what all of them damage, shorten and count."""

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from asvit.data import FractalDataset
from asvit.runs.algorithms import design_plan
from experiments.tables import markdown
from experiments.tasks import write_pictures
from tests.campaigns import forked

Key = TypeVar("Key", bound=tuple[str, ...])

SECTOR = 512


def flip_bits(content: bytes, draw: random.Random) -> bytes:
    """One to three flipped bits."""
    damaged = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def zero_sector(content: bytes, draw: random.Random) -> bytes:
    """A sector of zeros."""
    start = draw.randrange(0, len(content), SECTOR)
    size = min(SECTOR, len(content) - start)
    return content[:start] + bytes(size) + content[start + size :]


def stale_sector(content: bytes, draw: random.Random) -> bytes:
    """A sector with what is elsewhere in the file."""
    start, other = (draw.randrange(0, len(content), SECTOR) for _ in range(2))
    old = content[other : other + min(SECTOR, len(content) - start)]
    return content[:start] + old + content[start + len(old) :]


def cut_tail(content: bytes, draw: random.Random) -> bytes:
    """The end is missing."""
    return content[: draw.randrange(len(content))]


def zero_tail(content: bytes, draw: random.Random) -> bytes:
    """The end is zeros."""
    left = draw.randrange(len(content))
    return content[:left] + bytes(len(content) - left)


def lose_line(content: bytes, draw: random.Random) -> bytes:
    """A line is missing."""
    lines = content.splitlines(keepends=True)
    del lines[draw.randrange(len(lines))]
    return b"".join(lines)


def swap_lines(content: bytes, draw: random.Random) -> bytes:
    """Two lines have changed places."""
    lines = content.splitlines(keepends=True)
    first, second = (draw.randrange(len(lines)) for _ in range(2))
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


Damage = Callable[[bytes, random.Random], bytes]
ANYWHERE: Sequence[Damage] = (flip_bits, zero_sector, stale_sector, cut_tail, zero_tail)
IN_LINES: Sequence[Damage] = (*ANYWHERE, lose_line, swap_lines)


def begin(name: str) -> Path:
    """Start the server of processes, which takes seconds, and make a folder for the campaign."""
    forked.run(int)
    return Path(tempfile.mkdtemp(prefix=f"{name}-"))


def write_fractals(folder: Path, each: int = 12) -> None:
    """Write fractals of two classes."""
    images = FractalDataset(2, each, 40)
    write_pictures(images, range(len(images)), folder)


def shorten_designs() -> None:
    """Make the trainings of designs in this process brief; there is no option for it."""
    search = design_plan.DesignPlan.search

    def brief(plan: design_plan.DesignPlan) -> Mapping[str, Any]:
        return {**search(plan), "training_steps": 3}

    mock.patch.object(design_plan.DesignPlan, "search", brief).start()
    mock.patch.object(design_plan, "_EPOCHS", (2, 2)).start()


def outcomes_table(
    heads: Sequence[str], outcomes: Sequence[str], counts: Mapping[Key, Counter[str]]
) -> str:
    """How often every outcome came up, as Markdown; a line for each key, and their sum."""
    columns = {**dict.fromkeys(heads, "l"), **dict.fromkeys((*outcomes, "all"), "r")}
    every: list[tuple[tuple[str, ...], Counter[str]]] = [*counts.items()]
    every.append((("all", *[""] * (len(heads) - 1)), sum(counts.values(), Counter[str]())))
    lines = [
        (*key, *(found[outcome] for outcome in outcomes), found.total()) for key, found in every
    ]
    return markdown(columns, lines)
