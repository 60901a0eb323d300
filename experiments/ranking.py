"""How well measures rank the networks of a table: runs of ``asvit correlate``, and their cells."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from asvit.core.console import quantity
from asvit.core.files import write_text
from asvit.core.progress import Progress
from asvit.core.tables import csv_text
from asvit.reference import stored
from asvit.reference.findings import Correlation
from asvit.reference.result import CorrelationResult
from asvit.runs.correlation import run_correlation

MEASURES = Path(__file__).with_name("measures")


def ranking_parser(doc: str | None, out: str) -> argparse.ArgumentParser:
    """A parser with the table, its rows, and the folder of the runs."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--reference", required=True, help="name, or a CSV file")
    parser.add_argument(
        "--image-size", type=int, help="pixels per side; the table's own by default"
    )
    parser.add_argument("--rows", type=int, help="only so many rows, drawn by the seed")
    parser.add_argument("--max-params", help="only rows of at most so many, such as 30M")
    parser.add_argument("--out", type=Path, default=Path("runs") / out)
    return parser


def ranked(
    options: argparse.Namespace,
    label: str,
    proxies: Sequence[str],
    targets: Sequence[str],
    **settings: Any,
) -> CorrelationResult:
    """The run with a label, which continues where it was stopped."""
    table = Path(options.reference).stem
    folder = "".join(c if c.isalnum() or c in "-_" else "-" for c in label.replace("κ", "k"))
    return run_correlation(
        options.reference,
        target=targets,
        proxies=proxies,
        image_size=options.image_size,
        rows=options.rows,
        max_params=options.max_params,
        out=options.out / table / folder,
        progress=partial(_print_progress, f"{table}, {label}"),
        **settings,
    )


def store_values(result: CorrelationResult) -> None:
    """Write the scores of a table, which :func:`asvit.reference.stored.stored_values` reads."""
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
    write_text(stored.FOLDER / f"{result.reference}.csv", f"# measured: {how}\n{text}")


def tau_cell(correlation: Correlation, *, bold: bool = False) -> str:
    """Kendall's tau with its interval, or a dash where there is none."""
    if correlation.reason:
        return "-"
    low, high = correlation.tau_interval
    mark = "**" if bold else ""
    dropped = f", {correlation.dropped} failed" if correlation.dropped else ""
    return f"{mark}{correlation.tau:.3f}{mark} ({low:.2f} to {high:.2f}{dropped})"


def difference_cell(correlation: Correlation) -> str:
    """Tau minus that of the best count, with its interval, or a dash where there is none."""
    if correlation.reason:
        return "-"
    low, high = correlation.difference_interval
    return f"{correlation.difference:+.3f} ({low:+.2f} to {high:+.2f})"


def _print_progress(label: str, progress: Progress) -> None:
    if progress.unit == "row" and (progress.done % 10 == 0 or progress.done == progress.total):
        done = f"{progress.done} of {progress.total}"
        print(f"{label}: {done}, {progress.seconds:.0f} s", flush=True)
