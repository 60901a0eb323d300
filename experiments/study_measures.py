"""Which variants of the measures rank trained networks best?

Run from a checkout: ``python -m experiments.study_measures --reference vitbench101-pit``. A
stopped study continues when the command is run again; the same command gives the same digits.

Every variant changes one setting of the default: the circle's radius, its number of points, norms
kept, noise instead of fractal images, or their number.
All variants use the same initial weights. Tau is Kendall's, with a 95 % bootstrap interval; the
difference is to the best count, with its own interval.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from torch import nn

from asvit.reference.findings import Correlation
from asvit.reference.loading import load_reference
from asvit.reference.result import CorrelationResult
from experiments.ranking import difference_cell, ranked, ranking_parser, tau_cell
from experiments.tables import markdown
from proxies import Inputs, Proxy, length_distortion
from proxies.registry import PROXIES

EXPANSION = "length_distortion"
KERNEL = "ntk_condition_number"
GRAM = "feature_condition_number"
COUNTS = ("params", "macs")


def _expansion(model: nn.Module, inputs: Inputs) -> float:
    return length_distortion(model, inputs.circle, norms="kept")


NORMS_KEPT = Proxy(
    "length_distortion_norms_kept",
    "L^E with the norms kept",
    "higher",
    "none",
    _expansion,
)


@dataclass(frozen=True)
class Variant:
    """A change of the default settings, and the measure that it affects."""

    label: str
    measure: str
    settings: dict[str, Any]


VARIANTS = (
    Variant("L^E, radius 1", EXPANSION, {"radius": "unit"}),
    Variant("L^E, 5 points", EXPANSION, {"points": 5}),
    Variant("L^E, 20 points", EXPANSION, {"points": 20}),
    Variant("κ of noise", KERNEL, {"data": "gaussian"}),
    Variant("Gram matrix of the features, of noise", GRAM, {"data": "gaussian"}),
    Variant("Gram matrix of the features, 8 images", GRAM, {"images": 8}),
    Variant("Gram matrix of the features, 32 images", GRAM, {"images": 32}),
)
LABELS = {
    "params": "parameters",
    "macs": "multiply-adds",
    EXPANSION: "L^E",
    NORMS_KEPT.name: "L^E, norms kept",
    KERNEL: "κ",
    GRAM: "Gram matrix of the features",
}
Row = tuple[str, dict[str, Correlation]]


def main() -> None:
    """Run the missing measurements, then print the table."""
    options = _options()
    with patch.dict(PROXIES.data):
        # So that the default run measures it, too.
        PROXIES.register(NORMS_KEPT.name, NORMS_KEPT)
        targets, rows = _study(options)
    print(_table(targets, rows))


def _study(options: argparse.Namespace) -> tuple[list[str], list[Row]]:
    """The targets, and the correlations of every variant."""
    targets = options.targets.split(",") if options.targets else _from_scratch(options.reference)
    seeds = {"repeats": options.repeats, "seed": options.seed}
    named = [name for name in LABELS if name not in COUNTS]
    base = ranked(options, "default", named, targets, **seeds)
    rows = [_findings(base, name, label) for name, label in LABELS.items()]
    for variant in VARIANTS:
        settings = {**seeds, **variant.settings}
        result = ranked(options, variant.label, [variant.measure], targets, **settings)
        rows.append(_findings(result, variant.measure, variant.label))
    return [target.name for target in base.targets], rows


def _options() -> argparse.Namespace:
    parser = ranking_parser(__doc__, "study-measures")
    parser.add_argument("--targets", help="accuracies, separated by commas [all from scratch]")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _from_scratch(reference: str) -> list[str]:
    targets = load_reference(reference).targets
    return [name for name, target in targets.items() if target.training == "scratch"]


def _findings(result: CorrelationResult, measure: str, label: str) -> Row:
    found = {t.name: result.finding(measure, t.name).correlation for t in result.targets}
    return label, found


def _table(targets: Sequence[str], rows: Sequence[Row]) -> str:
    columns = {"": "l"}
    for target in targets:
        columns |= {f"τ, {target}": "r", f"minus best count, {target}": "r"}
    cells = []
    for label, found in rows:
        line = [label]
        for target in targets:
            line += [tau_cell(found[target]), difference_cell(found[target])]
        cells.append(line)
    return markdown(columns, cells)


if __name__ == "__main__":
    main()
