"""Cost of the measures relative to a forward pass of the same images.

Run from a checkout: ``python -m experiments.bench_proxies``. Every time is the shortest of
interleaved runs in one process, for forward passes and measures alike: the time without
interference from other programs.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

import proxies
from experiments.bench import bench_parser, forward, random_networks, seconds, shortest, start
from tests.proxies.oracles import curve_speed_by_rows, ntk_by_images, ntk_by_single_images


@dataclass(frozen=True)
class Row:
    """Seconds of one topology: forward passes, fast measures, and direct implementations.

    The direct implementations follow the definitions: one backward pass per feature (L^E), or one
    pass of the whole batch per image (NTK). ``single_ntk`` passes the images one by one instead.
    """

    architecture: str
    forward_circle: float
    expansion: float
    forward_images: float
    ntk: float
    slow_expansion: float | None = None
    slow_ntk: float | None = None
    single_ntk: float | None = None


def main() -> None:
    """Print the table and its averages."""
    parser = bench_parser(__doc__, runs=5)
    parser.add_argument("--topologies", type=int, default=16, help="random topologies")
    parser.add_argument("--slow", type=int, default=2, help="also time this many by definition")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--images", type=int, default=16, help="images in the kernel's batch")
    parser.add_argument("--points", type=int, default=10, help="points of the circle")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    side, points, images = options.image_size, options.points, options.images
    device = start(options, f"{side} px, {points} points, {images} images, float32")
    drawn = random_networks(
        options.topologies, side, device, points=points, images=images, seed=options.seed
    )
    rows: list[Row] = []
    for text, model, circle, batch in drawn:
        slow = len(rows) < options.slow
        rows.append(_timed(text, model, circle, batch, runs=options.runs, slow=slow))
        print(_line(rows[-1]), flush=True)
    _summary(rows)


def _timed(
    text: str, model: nn.Module, circle: proxies.Circle, images: Tensor, *, runs: int, slow: bool
) -> Row:
    points = circle.images(next(model.parameters()))
    fast = shortest(
        images.device,
        runs,
        lambda: forward(model, points),
        lambda: proxies.curve_speed(model, circle),
        lambda: forward(model, images),
        lambda: proxies.ntk_spectrum(model, images),
    )
    definitions: list[Callable[[], object]] = [
        lambda: curve_speed_by_rows(model, circle),
        lambda: ntk_by_images(model, images),
        lambda: ntk_by_single_images(model, images),
    ]
    return Row(text, *fast, *(seconds(images.device, run) for run in definitions if slow))


def _line(row: Row) -> str:
    text = (
        f"{row.architecture:34} forward {row.forward_circle:.3f} s, L^E {row.expansion:.3f} s "
        f"({row.expansion / row.forward_circle:.2f}x) | forward {row.forward_images:.3f} s, "
        f"NTK {row.ntk:.3f} s ({row.ntk / row.forward_images:.2f}x)"
    )
    if row.slow_expansion and row.slow_ntk and row.single_ntk:
        text += (
            f" | definitions: L^E {row.slow_expansion:.1f} s "
            f"({row.slow_expansion / row.expansion:.0f}x), "
            f"NTK {row.slow_ntk:.2f} s ({row.slow_ntk / row.ntk:.1f}x), "
            f"image by image {row.single_ntk:.2f} s ({row.single_ntk / row.ntk:.1f}x)"
        )
    return text


def _summary(rows: Sequence[Row]) -> None:
    expansion = [row.expansion / row.forward_circle for row in rows]
    kernel = [row.ntk / row.forward_images for row in rows]
    print(
        f"\nmean of ratios over {len(rows)} topologies: L^E {statistics.fmean(expansion):.2f}x, "
        f"NTK {statistics.fmean(kernel):.2f}x a fused no-grad forward of the same images"
    )
    mean = statistics.fmean(row.expansion + row.ntk for row in rows)
    print(f"both measures of one network: {mean:.2f} s on average")


if __name__ == "__main__":
    main()
