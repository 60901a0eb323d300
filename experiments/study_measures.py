"""Which variants of the measures rank trained networks best, and do sums of ranks help?

Run from a checkout: ``python -m experiments.study_measures --reference vitbench101-pit``. A
stopped study continues when the command is given again; the same command gives the same digits.

Every variant changes one setting of the default: the circle's radius, its number of points, norms
kept, all tokens instead of the pooled feature, the mean of log κ instead of κ, noise instead of
fractal images, or their number. All variants use the same initial weights. Tau is Kendall's, with
a 95 % bootstrap interval; the difference is to the best count, with its own interval.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from asvit.core.progress import Progress
from asvit.core.run_files import SCORES
from asvit.reference.findings import Correlation
from asvit.reference.loading import load_reference
from asvit.reference.result import CorrelationResult
from asvit.reference.scores import ScoreJournal
from asvit.reference.statistics import correlate
from asvit.runs.correlation import run_correlation
from experiments.tables import markdown
from proxies import Inputs, Proxy, length_distortion
from proxies.features import Feature, Norms
from proxies.registry import PROXIES, register

EXPANSION = "length_distortion"
KERNEL = "ntk_condition_number"
GRAM = "feature_condition_number"
COUNTS = ("params", "macs")
SUMS = (
    f"{EXPANSION}+{KERNEL}",
    f"{EXPANSION}+{GRAM}",
    f"params+{EXPANSION}",
    f"params+{GRAM}",
    f"macs+{GRAM}",
    f"params+{EXPANSION}+{GRAM}",
)


def _expansion(model: nn.Module, inputs: Inputs, *, norms: Norms, feature: Feature) -> float:
    return length_distortion(model, inputs.circle, norms=norms, feature=feature)


NORMS_KEPT = Proxy(
    "length_distortion_norms_kept",
    "L^E with the norms kept",
    "higher",
    "none",
    partial(_expansion, norms="kept", feature="pooled"),
)
TOKENS = Proxy(
    "length_distortion_tokens",
    "L^E of all tokens, not pooled",
    "higher",
    "none",
    partial(_expansion, norms="bypassed", feature="tokens"),
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
    TOKENS.name: "L^E, all tokens",
    KERNEL: "κ",
    GRAM: "Gram matrix of the features",
}
Row = tuple[str, dict[str, Correlation]]


def main() -> None:
    """Run the missing measurements, then print the table."""
    options = _options()
    with _registered(NORMS_KEPT, TOKENS):  # so that the default run measures them, too
        targets, rows = _study(options)
    print(_table(targets, rows))


@contextmanager
def _registered(*variants: Proxy) -> Iterator[None]:
    """Register measures for the duration of the block."""
    for variant in variants:
        register(variant)
    try:
        yield
    finally:
        for variant in variants:
            del PROXIES[variant.name]


def _study(options: argparse.Namespace) -> tuple[list[str], list[Row]]:
    """The targets, and the correlations of every variant."""
    named = [name for name in LABELS if name not in COUNTS]
    base = _run(options, "default", [*named, *SUMS], {})
    rows = [_findings(base, name, _label(name)) for name in (*COUNTS, *named)]
    for name in (KERNEL, GRAM):
        logs = _of_logarithms(base, name, seed=options.seed)
        rows.append((f"{_label(name)}, mean of logarithms", logs))
    for variant in VARIANTS:
        result = _run(options, variant.label, [variant.measure], variant.settings)
        rows.append(_findings(result, variant.measure, variant.label))
    rows += [_findings(base, name, f"ranks of {_label(name)}") for name in SUMS]
    return [target.name for target in base.targets], rows


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--reference", required=True, help="name of a table, or a CSV file")
    made.add_argument("--targets", help="accuracies, separated by commas [all from scratch]")
    made.add_argument("--repeats", type=int, default=2)
    made.add_argument("--image-size", type=int, help="for all rows, in place of their own")
    made.add_argument("--rows", type=int, help="only so many rows, drawn by the seed")
    made.add_argument("--max-params", help="only rows of at most so many, such as 30M")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, default=Path("runs/study-measures"))
    options = made.parse_args()
    table = load_reference(options.reference)
    scratch = [name for name, target in table.targets.items() if target.training == "scratch"]
    options.targets = (options.targets or "").split(",") if options.targets else scratch
    options.table = table
    return options


def _run(
    options: argparse.Namespace, label: str, proxies: Sequence[str], settings: dict[str, Any]
) -> CorrelationResult:
    folder = "".join(c if c.isalnum() else "-" for c in label.replace("κ", "k"))
    return run_correlation(
        options.table,
        target=options.targets,
        proxies=proxies,
        out=options.out / options.table.name / folder,
        progress=partial(_print_progress, label),
        repeats=options.repeats,
        image_size=options.image_size,
        rows=options.rows,
        max_params=options.max_params,
        seed=options.seed,
        **settings,
    )


def _findings(result: CorrelationResult, measure: str, label: str) -> Row:
    found = {t.name: result.finding(measure, t.name).correlation for t in result.targets}
    return label, found


def _of_logarithms(base: CorrelationResult, name: str, *, seed: int) -> dict[str, Correlation]:
    """Correlations of a measure with its repeats averaged by the geometric mean."""
    journal = ScoreJournal(base.folder / SCORES)
    scores = [journal.scores[text][name] for text in base.values.architectures]
    logs = [float(np.log(one.values).mean()) if one.valid else np.nan for one in scores]
    return {
        target.name: correlate(
            logs,
            base.values.accuracies[target.name],
            better="lower",
            counts={name: base.values.measures[name] for name in COUNTS},
            seed=seed,
        )
        for target in base.targets
    }


def _table(targets: Sequence[str], rows: Sequence[Row]) -> str:
    columns = {"": "l"}
    for target in targets:
        columns |= {f"τ, {target}": "r", f"minus best count, {target}": "r"}
    cells = []
    for label, found in rows:
        line = [label]
        for target in targets:
            line += _cells(found[target])
        cells.append(line)
    return markdown(columns, cells)


def _cells(found: Correlation) -> list[str]:
    if found.reason:
        return ["-", "-"]
    tau, apart = found.tau_interval, found.difference_interval
    dropped = f", {found.dropped} failed" if found.dropped else ""
    return [
        f"{found.tau:.3f} ({tau.low:.2f} to {tau.high:.2f}{dropped})",
        f"{found.difference:+.3f} ({apart.low:+.2f} to {apart.high:+.2f})",
    ]


def _label(name: str) -> str:
    return " + ".join(LABELS[part] for part in name.split("+"))


def _print_progress(label: str, progress: Progress) -> None:
    if progress.unit == "row" and (progress.done % 10 == 0 or progress.done == progress.total):
        done = f"{progress.done} of {progress.total}"
        print(f"{label}: {done}, {progress.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
