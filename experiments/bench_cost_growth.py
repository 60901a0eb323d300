"""How the cost of measuring one candidate grows with the network and with the settings.

Run from a checkout: ``OMP_NUM_THREADS=1 python -m experiments.bench_cost_growth``. One setting at
a time is changed, from the published seed architecture at 128 px, 16 images and 10 points. Times
are those of :mod:`experiments.bench`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from statistics import linear_regression

import torch

import asvit
import proxies
from experiments.bench import bench_parser, forward, shortest, start
from experiments.tables import markdown
from experiments.tasks import SEED

MEASURES = ("length_distortion", "ntk_condition_number")
#: What is timed: a forward pass of the images, both measures, and all that a search needs for one
#: candidate, which is building and both measures in each repeat.
TIMES = ("forward, s", "L^E, s", "κ, s", "one candidate, s")


@dataclass(frozen=True)
class Case:
    """The settings of a measurement."""

    image_size: int = 128
    width: int = 32
    blocks: int = 1  # in each stage
    images: int = 16
    points: int = 10
    repeats: int = 1


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
    options = bench_parser(__doc__, runs=3, device="auto").parse_args()
    device = start(options)
    timed = cache(partial(times, device=device, runs=options.runs))  # one case is of every axis
    print(
        table(
            {
                (changed, value): timed(replace(Case(), **{changed: value}))
                for changed, (values, _) in AXES.items()
                for value in values
            }
        )
    )


def times(case: Case, device: torch.device, runs: int) -> list[float]:
    """Seconds of each of :data:`TIMES`."""
    side = case.image_size
    build = partial(asvit.build, SEED, image_size=side, depths=[case.blocks] * 4, width=case.width)
    torch.manual_seed(0)
    model = build().to(device).eval()
    circle = proxies.Circle.random((3, side, side), case.points)
    images = torch.randn(case.images, 3, side, side)
    on_device = images.to(device)
    functions: tuple[Callable[[], object], ...] = (
        lambda: forward(model, on_device),
        lambda: proxies.length_distortion(model, circle),
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


def table(measured: Mapping[tuple[str, int], Sequence[float]]) -> str:
    """Times, with the exponents of their growth below each group: 2 for four times at twice."""
    lines: list[tuple[object, ...]] = []
    for changed in dict.fromkeys(name for name, _ in measured):
        group = {value: own for (name, value), own in measured.items() if name == changed}
        for value, own in group.items():
            lines.append((AXES[changed][1], value, *(f"{seconds:.3f}" for seconds in own)))
        x = [math.log(value) for value in group]
        columns = zip(*group.values(), strict=True)
        slopes = [linear_regression(x, [*map(math.log, column)]).slope for column in columns]
        lines.append(("", "exponent", *(f"{slope:.2f}" for slope in slopes)))
    return markdown({"changed": "l", **dict.fromkeys(("to", *TIMES), "r")}, lines)


if __name__ == "__main__":
    main()
