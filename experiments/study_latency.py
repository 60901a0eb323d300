"""Do two measurements of latency order networks alike, and would multiply-adds order them so?

Random As-ViT topologies and some models of timm are timed, then all of them once more: Kendall's
tau of the two says how far a latency can be trusted on this machine; its tau with the counts says
what counting would miss.

Run from a checkout: ``OMP_NUM_THREADS=1 nice python -m experiments.study_latency``, in minutes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import asvit
from asvit.statistics.ranks import kendall
from experiments.study import Case, Study, cases
from experiments.tables import markdown

SIDE = 128
TIMM = (
    *("deit_tiny_patch16_224", "resnet18", "convnext_atto", "mobilenetv3_large_100"),
    *("swin_tiny_patch4_window7_224", "pit_ti_224", "efficientnet_b0", "pvt_v2_b0"),
)


@dataclass(frozen=True)
class Row:
    """A latency of a network: milliseconds, and passes of the reference network."""

    architecture: str
    repeat: int
    params: int
    macs: int
    milliseconds: float
    relative: float
    busy: float  # of the machine; 1 is idle


def networks() -> list[str]:
    """The networks, as texts."""
    space, rng = asvit.load_space("asvit"), np.random.default_rng(0)
    return [*(str(space.sample(rng)) for _ in range(32)), *(f"timm:{name}" for name in TIMM)]


def compare(architecture: str, repeat: int) -> Case:
    """The size and the latency of a network."""
    size, latency = asvit.cost(architecture, SIDE), asvit.latency(architecture, SIDE)
    counts = {"params": size.params, "macs": size.macs}
    times = ("milliseconds", "relative", "busy")
    return counts | {name: round(getattr(latency, name), 4) for name in times}


TABLE = Path("runs/latency.csv")  # of this machine
STUDY = Study(
    Row, TABLE, cases(architecture=networks(), repeat=range(2)), compare, repeat="repeat"
)


def table() -> str:
    """Both latencies of each unit, and the latency beside both counts."""
    first, second = ([row for row in STUDY.rows() if row.repeat == n] for n in range(2))
    lines = []
    for unit in ("milliseconds", "relative"):
        times, again = (np.array([vars(row)[unit] for row in rows]) for rows in (first, second))
        apart = abs(times / again - 1)
        others = (again, *(np.array([vars(row)[n] for row in first]) for n in ("macs", "params")))
        taus = [f"{kendall(times, other):.3f}" for other in others]
        lines.append((unit, f"{np.median(apart):.1%}", f"{max(apart):.1%}", *taus))
    columns = ["apart in the median", "at most", "τ, again", "multiply-adds", "parameters"]
    return markdown({"latency in": "l", **dict.fromkeys(columns, "r")}, lines)


if __name__ == "__main__":
    busy = [row.busy for row in STUDY.main(__doc__)]
    if not STUDY.missing():
        print(table())
    print(f"busy {np.median(busy):.2f} in the median, at most {max(busy):.2f}")
