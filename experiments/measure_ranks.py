"""How well the measures rank the networks of the reference tables: tables of the evidence.

Run from a checkout: ``python -m experiments.measure_ranks`` prints every measure on every table.
``--reference NAME`` measures a table first, by ``asvit correlate``, and stores the values that
come with it, a row for each network. Those of timm's networks take eleven hours of a core; of them
only Kendall's taus were stored, in ``measures/timm-in1k-taus.csv``.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import asvit
from asvit.core.console import quantity
from asvit.core.files import write_text
from asvit.core.tables import csv_text
from asvit.reference import load_reference, query
from asvit.reference.correlate import correlate
from experiments import predictor_table
from experiments.tables import markdown, read_rows
from proxies.registry import get_proxy

MEASURES = Path(__file__).with_name("measures")
#: Measures of the paper and of asvit, then those of others.
NAMES = (
    *("length_distortion", "extrinsic_curvature", "gauss_map_length", "ntk_condition_number"),
    *("feature_condition_number", "synflow", "snip", "grad_norm", "fisher", "zico", "dss"),
    *("jacob_cov", "naswot", "az_expressivity", "az_progressivity", "az_trainability", "grasp"),
)
TIMM = MEASURES / "timm-in1k-taus.csv"
COUNTS = ("params", "macs", "depth", "width", "expansions")
#: Reference table -> the accuracies that are ranked, and a heading.
TABLES: Mapping[str, tuple[str, str]] = {
    "vitbench101-pit": ("c100_base_acc", "PiT, CIFAR-100 (100)"),
    "vitbench101-autoformer": ("c100_kd_acc", "AutoFormer, CIFAR-100 distilled (100)"),
    "timm-in1k": ("top1", "timm, ImageNet (196)"),
    "asvit-sizes": ("accuracy", "As-ViT of several sizes, fractals (100)"),
    "asvit-fractal": ("accuracy", "As-ViT of one size, fractals (60)"),
}
#: Measures of the short table: name -> as papers write it, and cost in passes.
SHORT: Mapping[str, tuple[str, str]] = {
    "length_distortion": ("L^E, the paper's first measure", "2 forward passes"),
    "ntk_condition_number": ("κ_Θ, its second", "3 forward passes"),
    "snip": ("SNIP", "3 to 4 forward passes"),
    "zico": ("ZiCo", "3 to 4 forward passes"),
    "synflow": ("SynFlow", "1 to 5 forward passes of one image"),
    "naswot": ("NASWOT", "1 forward pass"),
}


@dataclass(frozen=True)
class Rank:
    """How well a measure ranks the networks of a table."""

    measure: str
    tau: float  # NaN where it cannot be told
    low: float
    high: float
    failed: int  # networks without a value
    beats: int  # 1 if the difference to the best count has an interval above zero


@lru_cache
def ranks_of(name: str) -> Mapping[str, Rank]:
    """Every measure and count on a table, by its name."""
    if name == "timm-in1k":
        return {row.measure: row for row in read_rows(TIMM, Rank)}
    table, (target, _) = load_reference(name), TABLES[name]
    columns, _ = query.stored_values(table)
    counts = {count: columns[count] for count in COUNTS}
    ranks = {}
    for measure, values in columns.items():
        better = "higher" if measure in COUNTS else get_proxy(measure).better
        found = correlate(values, table.accuracies[target], better=better, counts=counts)
        beats = measure not in COUNTS and found.difference_interval.low > 0
        ranks[measure] = Rank(measure, found.tau, *found.tau_interval, found.dropped, int(beats))
    return ranks


def everything() -> str:
    """Every measure on every table with its interval, counts first, by the mean tau."""
    ranked = [ranks_of(name) for name in TABLES]
    names = list(dict.fromkeys(measure for ranks in ranked for measure in ranks))

    def place(measure: str) -> tuple[bool, float]:
        taus = [ranks[measure].tau for ranks in ranked if measure in ranks]
        return measure not in COUNTS, -float(np.nanmean(taus))

    lines = [
        [name, *(_cell(ranks.get(name)) for ranks in ranked)] for name in sorted(names, key=place)
    ]
    return markdown({"measure": "l", **{head: "r" for _, head in TABLES.values()}}, lines)


def _cell(rank: Rank | None) -> str:
    if rank is None or math.isnan(rank.tau):
        return "-"
    failed = f", {rank.failed} failed" if rank.failed else ""
    interval = f"({rank.low:.2f} to {rank.high:.2f}{failed})".replace("-", "−")
    return f"{_tau(rank.tau, bold=bool(rank.beats))} {interval}"


def short() -> str:
    """The measures of most interest, and the predictor, on every table."""
    ranked = [ranks_of(name) for name in TABLES]
    best = [max(ranks[count].tau for count in COUNTS) for ranks in ranked]
    lines = [["best count, known in hindsight", *map(_tau, best), "none"]]
    for measure, (words, passes) in SHORT.items():
        cells = [_tau(of[measure].tau, bold=bool(of[measure].beats)) for of in ranked]
        lines.append([words, *cells, passes])
    rows = predictor_table.STUDY.rows()
    for trainings in predictor_table.TRAININGS:
        words = f"a predictor after {trainings} trainings"
        lines.append([words, *_predicted(rows, trainings), f"share of {trainings} trainings"])
    heads = [head for _, head in TABLES.values()]
    return markdown(
        {"ranked by": "l", **dict.fromkeys(heads, "r"), "cost of a network": "l"}, lines
    )


def _predicted(rows: Sequence[predictor_table.Row], trainings: int) -> list[str]:
    """The predictor on each table; its rival is the count chosen on the rows fitted to."""
    known = {(row.reference, row.target): row for row in rows if row.trainings == trainings}
    each = [known[name, target] for name, (target, _) in TABLES.items()]
    return [_tau(row.tau, bold=row.count_low > 0) for row in each]


def _tau(tau: float, *, bold: bool = False) -> str:
    text = f"{tau:.2f}".replace("-", "−")
    return f"**{text}**" if bold else text


def store(reference: str, **settings: Any) -> None:
    """Measure a table, and write the scores that :func:`query.stored_values` reads."""
    result = asvit.run_correlation(
        reference, proxies=NAMES, out=Path("runs/measure-ranks") / reference, **settings
    )
    values = result.values
    numbers = zip(*values.measures.values(), strict=True)
    rows = [
        [text, *(f"{value:.6g}" for value in own)]
        for text, own in zip(values.architectures, numbers, strict=True)
    ]
    sides = sorted({*values.image_sizes})
    side = " to ".join(map(str, dict.fromkeys((sides[0], sides[-1]))))
    how = f"{side} px, {quantity(result.settings.repeats, 'network')} each"
    text = csv_text([["architecture", *values.measures], *rows])
    write_text(query.FOLDER / f"{result.reference}.csv", f"# measured: {how}\n{text}")


def main() -> None:
    """Measure a table if one is named, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", choices=TABLES, help="table to measure, and to store")
    parser.add_argument("--image-size", type=int, help="pixels per side; by default its own")
    parser.add_argument("--preset", default="default")
    options = parser.parse_args()
    if options.reference:
        store(options.reference, image_size=options.image_size, preset=options.preset)
    print(short(), everything(), sep="\n\n")


if __name__ == "__main__":
    main()
