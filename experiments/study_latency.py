"""Do two measurements of latency order networks alike, and would multiply-adds order them so?

Run from a checkout: ``OMP_NUM_THREADS=1 nice python -m experiments.study_latency``, in minutes.
Random As-ViT topologies and some models of timm are timed twice, the second time in another order.
Kendall's tau of the two measurements says how far a latency can be trusted on this machine; its
tau with multiply-adds and parameters says what counting would miss. Intervals are those of
bootstrap resamples of the networks.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import asvit
from asvit.reference.statistics import correlate
from experiments.tables import markdown, write_rows
from proxies.latency import Latency

TIMM = (
    *("deit_tiny_patch16_224", "resnet18", "convnext_atto", "mobilenetv3_large_100"),
    *("swin_tiny_patch4_window7_224", "pit_ti_224", "efficientnet_b0", "pvt_v2_b0"),
)


@dataclass(frozen=True)
class Row:
    """A network, its size, and its two latencies: milliseconds, and passes of the reference."""

    architecture: str
    params: int
    macs: int
    first: float
    second: float
    first_relative: float
    second_relative: float
    first_busy: float
    second_busy: float


def main() -> None:
    """Time the networks, write the values and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=32, help="topologies of the space")
    parser.add_argument("--timm", nargs="*", default=TIMM, help="models of timm")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/latency"))
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    space = asvit.load_space("asvit")
    texts = [str(space.sample(rng)) for _ in range(options.random)]
    texts = list(dict.fromkeys([*texts, *(f"timm:{name}" for name in options.timm)]))
    times: list[dict[str, Latency]] = []
    for _ in range(2):
        order = [texts[place] for place in rng.permutation(len(texts))]
        times.append({text: timed(text, options) for text in order})
    rows = [row(text, options.image_size, *(one[text] for one in times)) for text in texts]
    write_rows(options.out / "latency.csv", rows)
    told = times[0][texts[0]]
    print(
        f"{told.device}, threads {told.threads}, {told.runtime}, batch {told.batch}, "
        f"{told.image_size} px, {len(rows)} networks"
    )
    print(table(rows))
    print(f"\n{steadiness(rows)}")


def timed(text: str, options: argparse.Namespace) -> Latency:
    """The latency of a network."""
    return asvit.latency(text, options.image_size, 1, options.device, options.runtime)


def row(text: str, side: int, first: Latency, second: Latency) -> Row:
    """A network with both latencies."""
    size = asvit.cost(text, side)
    both = (first, second)
    return Row(
        *(text, size.params, size.macs),
        *(one.milliseconds for one in both),
        *(one.relative for one in both),
        *(one.busy for one in both),
    )


def table(rows: list[Row]) -> str:
    """Tau of the first latency with the second one and with both counts, in either unit."""
    lines = []
    ours = [one for one in rows if not one.architecture.startswith("timm:")]
    units = {"milliseconds": "", "passes of the reference": "_relative"}
    for name, some in {"all": rows, "As-ViT": ours}.items():
        for unit, suffix in units.items():
            cells = [f"{name} {len(some)}", unit]
            first = [float(getattr(one, f"first{suffix}")) for one in some]
            for other in (f"second{suffix}", "macs", "params"):
                values = [float(getattr(one, other)) for one in some]
                found = correlate(first, values, better="higher")
                low, high = found.tau_interval
                cells.append(f"{found.tau:.3f} [{low:.3f}, {high:.3f}]")
            lines.append(tuple(cells))
    columns = {"networks": "l", "latency in": "l"}
    taus = ("measured again", "multiply-adds", "parameters")
    return markdown({**columns, **dict.fromkeys(taus, "r")}, lines)


def steadiness(rows: list[Row]) -> str:
    """By how much the latencies of a network differ, and how busy the machine was."""
    apart = [abs(one.first / one.second - 1) for one in rows]
    ratios = [abs(one.first_relative / one.second_relative - 1) for one in rows]
    busy = [busy for one in rows for busy in (one.first_busy, one.second_busy)]
    return (
        f"the two latencies differ by {np.median(apart):.1%} in the median, at most by "
        f"{max(apart):.1%}; in passes of the reference by {np.median(ratios):.1%} and "
        f"{max(ratios):.1%}; busy {np.median(busy):.2f} in the median, at most {max(busy):.2f}"
    )


if __name__ == "__main__":
    main()
