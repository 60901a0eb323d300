"""How well do the measures rank the networks of a table? Tables of docs/evidence_measures.md.

Run from a checkout: ``python -m experiments.tau_table --reference vitbench101-pit``. It runs
``asvit correlate`` and prints a Markdown table: Kendall's tau with a 95 % bootstrap interval over
the rows, one column per target. Bold means that a measure beats the best count and the interval of
the difference excludes zero. A stopped run continues when the command is given again.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from asvit.core.progress import Progress
from asvit.reference.findings import Finding, winners
from asvit.runs.correlation import run_correlation
from experiments.tables import markdown

MAIN = (
    "length_distortion",
    "extrinsic_curvature",
    "gauss_map_length",
    "ntk_condition_number",
    "feature_condition_number",
    "length_distortion+ntk_condition_number",
    "length_distortion+feature_condition_number",
    "params+length_distortion",
    "params+feature_condition_number",
    "macs+feature_condition_number",
    "params+length_distortion+feature_condition_number",
)
RIVALS = (
    "synflow",
    "snip",
    "grad_norm",
    "fisher",
    "zico",
    "dss",
    "jacob_cov",
    "naswot",
    "az_expressivity",
    "az_progressivity",
    "az_trainability",
    "az_expressivity+az_trainability+macs",
    "grasp",
)


def main() -> None:
    """Run the missing measurements, then print the table."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--reference", required=True, help="name of a table, or a CSV file")
    made.add_argument("--target", default="all", help="accuracies, separated by commas")
    made.add_argument("--proxy", help="measures, separated by commas")
    made.add_argument("--rivals", action="store_true", help="the measures of others, too")
    made.add_argument("--preset", default="default")
    made.add_argument("--data", default="fractal", help="images to measure on")
    made.add_argument("--image-size", type=int, help="pixels per side; the table's own by default")
    made.add_argument("--rows", type=int, help="only so many rows, drawn by the seed")
    made.add_argument("--max-params", help="only rows of at most so many, such as 30M")
    made.add_argument("--out", type=Path, default=Path("runs/tau-table"))
    options = made.parse_args()
    names = options.proxy.split(",") if options.proxy else [*MAIN, *options.rivals * RIVALS]
    side = [] if options.image_size is None else [f"{options.image_size}px"]
    result = run_correlation(
        options.reference,
        target=options.target.split(","),
        proxies=names,
        preset=options.preset,
        data=options.data,
        image_size=options.image_size,
        rows=options.rows,
        max_params=options.max_params,
        out=options.out / _folder(options.reference, options.preset, options.data, *side),
        progress=partial(_print_progress, options.reference),
    )
    print(_table(result.correlations, [target.name for target in result.targets]))
    print(f"\n{result.rows} rows; best counts: {_rivals(result.correlations)}")


def _folder(*words: str) -> str:
    """The name of a run folder."""
    return "-".join(Path(word).stem for word in words)


def _table(findings: Sequence[Finding], targets: Sequence[str]) -> str:
    """The table: counts first, then measures by their mean tau over the targets."""
    cells = {(one.measure, one.target): one for one in findings}
    best = {(one.measure, one.target) for one in winners(findings)}
    measures = dict.fromkeys(one.measure for one in findings)

    def place(measure: str) -> tuple[bool, float]:
        own = [cells[measure, target].correlation.tau for target in targets]
        known = [tau for tau in own if tau == tau]
        return not cells[measure, targets[0]].trivial, -sum(known) / max(1, len(known))

    rows = [
        (
            measure.replace("+", " + "),
            *(_cell(cells[measure, target], (measure, target) in best) for target in targets),
        )
        for measure in sorted(measures, key=place)
    ]
    return markdown({"measure": "l", **dict.fromkeys(targets, "r")}, rows)


def _cell(finding: Finding, beats: bool) -> str:
    found = finding.correlation
    if found.reason:
        return "-"
    tau = f"**{found.tau:.3f}**" if beats else f"{found.tau:.3f}"
    dropped = f", {found.dropped} failed" if found.dropped else ""
    return f"{tau} ({found.tau_interval.low:.2f} to {found.tau_interval.high:.2f}{dropped})"


def _rivals(findings: Sequence[Finding]) -> str:
    """The best count for every target."""
    known = {one.target: one.correlation.rival for one in findings if one.correlation.rival}
    return ", ".join(f"{rival} for {target}" for target, rival in known.items())


def _print_progress(name: str, progress: Progress) -> None:
    if progress.unit == "row" and (progress.done % 10 == 0 or progress.done == progress.total):
        done = f"{progress.done} of {progress.total}"
        print(f"{name}: {done}, {progress.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
