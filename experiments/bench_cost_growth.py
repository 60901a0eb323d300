"""How the cost of measuring one candidate grows with the network and with the settings.

Run from a checkout: ``OMP_NUM_THREADS=1 python -m experiments.bench_cost_growth``. One setting at
a time is changed, from the published seed architecture at 128 px, 16 images and 10 points. Times
are those of :mod:`experiments.bench`; ratios are to a forward pass of the same images. Writes and
prints a table.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import linear_regression

import torch

import asvit
import proxies
from experiments.bench import bench_parser, forward, shortest, start
from experiments.tables import markdown, write_rows
from experiments.tasks import SEED

MEASURES = ("length_distortion", "ntk_condition_number")


@dataclass(frozen=True)
class Case:
    """The settings of a measurement."""

    image_size: int = 128
    width: int = 32
    blocks: int = 1  # in each stage
    images: int = 16
    points: int = 10
    repeats: int = 1


@dataclass(frozen=True)
class Row:
    """Seconds of one case, in which the setting ``changed`` has the value ``value``.

    ``candidate`` is the time a search needs for one candidate: building and both measures, in each
    repeat.
    """

    changed: str
    value: int
    forward_circle: float
    length_distortion: float
    forward_images: float
    ntk_condition_number: float
    candidate: float


# Setting -> its values, and its label.
AXES: Mapping[str, tuple[Sequence[int], str]] = {
    "image_size": ((64, 96, 128, 192, 224), "image size in pixels"),
    "width": ((8, 16, 32, 64), "width of the first stage"),
    "blocks": ((1, 2, 4), "blocks in each stage"),
    "images": ((8, 16, 32, 64), "images in the kernel's batch"),
    "points": ((5, 10, 20, 40), "points on the circle"),
    "repeats": ((1, 2, 4), "repeats"),
}


def main() -> None:
    """Time every case, then print the table."""
    options = _options()
    device = start(options)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    timed: dict[Case, list[float]] = {}  # the unchanged case comes up several times
    for changed, value, case in cases(options.base, options.only.split(",")):
        if case not in timed:
            timed[case] = _times(case, device, options.runs)
        rows.append(Row(changed, value, *timed[case]))
        write_rows(options.out / "cost-growth.csv", rows)
        print(f"  {changed} {value}: {rows[-1].candidate:.3f} s", flush=True)
    print(table(rows))


def _options() -> argparse.Namespace:
    parser = bench_parser(__doc__, runs=3, device="auto")
    parser.add_argument("--base", type=int, default=128, help="image size, unless that is changed")
    parser.add_argument("--only", default=",".join(AXES), help="what to change, with commas")
    parser.add_argument("--out", type=Path, default=Path("runs/cost-growth"))
    return parser.parse_args()


def cases(base: int, only: Sequence[str]) -> Iterator[tuple[str, int, Case]]:
    """Each setting to change, its new value, and the resulting case."""
    for changed in only:
        for value in AXES[changed][0]:
            yield changed, value, replace(Case(image_size=base), **{changed: value})


def _times(case: Case, device: torch.device, runs: int) -> list[float]:
    """The times of a case, in the order of the columns of a row."""
    side = case.image_size
    build = partial(asvit.build, SEED, image_size=side, depths=[case.blocks] * 4, width=case.width)
    torch.manual_seed(0)
    model = build().to(device).eval()
    circle = proxies.Circle.random((3, side, side), case.points)
    points = circle.images(next(model.parameters()))
    images = torch.randn(case.images, 3, side, side)
    on_device = images.to(device)
    functions: tuple[Callable[[], object], ...] = (
        lambda: forward(model, points),
        lambda: proxies.length_distortion(model, circle),
        lambda: forward(model, on_device),
        lambda: proxies.ntk_condition_number(model, on_device),
        lambda: proxies.measure(
            build,
            MEASURES,
            repeats=case.repeats,
            images=images,
            points=case.points,
            device=str(device),
        ),
    )
    return shortest(device, runs, *functions)


def growth(rows: Sequence[Row], column: str) -> float:
    """Exponent of a column's growth: the slope of a line fitted in log-log scale.

    2 means that twice the value takes four times as long.
    """
    x = [math.log(row.value) for row in rows]
    y = [math.log(getattr(row, column)) for row in rows]
    return linear_regression(x, y).slope


def table(rows: Sequence[Row]) -> str:
    """Times and ratios, with the exponents of growth below each group."""
    columns = {"changed": "l", "to": "r", "forward, s": "r", "L^E, s": "r", "κ, s": "r"}
    columns |= {"one candidate, s": "r", "L^E / forward": "r", "κ / forward": "r"}
    cells: list[tuple[object, ...]] = []
    for changed in dict.fromkeys(row.changed for row in rows):
        group = [row for row in rows if row.changed == changed]
        cells += [
            (
                AXES[changed][1],
                row.value,
                f"{row.forward_images:.3f}",
                f"{row.length_distortion:.3f}",
                f"{row.ntk_condition_number:.3f}",
                f"{row.candidate:.3f}",
                f"{row.length_distortion / row.forward_circle:.2f}",
                f"{row.ntk_condition_number / row.forward_images:.2f}",
            )
            for row in group
        ]
        exponents = [f"{growth(group, column):.2f}" for column in _TIMES]
        cells.append(("", "exponent", *exponents, "", ""))
    return markdown(columns, cells)


_TIMES = ("forward_images", "length_distortion", "ntk_condition_number", "candidate")


if __name__ == "__main__":
    main()
