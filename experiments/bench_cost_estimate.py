"""How accurate are the time estimates of ``--dry-run``? Compares them with real searches.

Run from a checkout: ``OMP_NUM_THREADS=1 python -m experiments.bench_cost_estimate``. Each search
is first estimated, on architectures that it will not draw, and then run in this process. All times
are processor time, which other programs hardly affect.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asvit.executors import Workers
from asvit.runs.checks import find_space
from asvit.runs.estimate import Estimate, estimate_search
from asvit.runs.measurement_pool import Evaluator
from asvit.runs.search import run_search
from asvit.search import Measurement, SearchSettings, read_trials
from experiments.tables import markdown, write_rows

RUNS: Mapping[str, Mapping[str, Any]] = {
    "quick, 100 steps": {"preset": "quick", "steps": 100},
    "ShiftViT, quick, 60 steps": {"preset": "quick", "space": "shiftvit", "steps": 60},
    "224 px, 10 steps, 2 networks": {"steps": 10, "repeats": 2},
    "evolution, 96 px, 30 steps": {
        "controller": "evolution",
        "image_size": 96,
        "steps": 30,
        "repeats": 3,
    },
    "quick, 500 steps": {"preset": "quick", "steps": 500},
}


@dataclass(frozen=True)
class Row:
    """One search: estimated and actual seconds of measuring, and seconds of the whole run."""

    name: str
    seconds: float
    low: float
    high: float
    architectures: float
    measured_seconds: float
    measured_architectures: int
    all_seconds: float

    @property
    def error(self) -> float:
        """Relative error of the estimate."""
        return self.seconds / self.measured_seconds - 1


def main() -> None:
    """Estimate and run every search, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a name")
    parser.add_argument("--out", type=Path, default=Path("runs/cost-estimates"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for name, given in RUNS.items():
        if options.only in name:
            rows.append(compare(name, SearchSettings.make(**given)))
            write_rows(options.out / "estimates.csv", rows)
            print(f"  {rows[-1]}", flush=True)
    print(table(rows))


def compare(name: str, settings: SearchSettings) -> Row:
    """Estimate a search, then run it."""
    estimate: Estimate = estimate_search(settings, Workers(jobs=1), clock=time.process_time)
    space = find_space(settings.space, image_size=settings.image_size)
    evaluate = Timed(Evaluator(space, settings, workers=Workers(jobs=1)))
    with TemporaryDirectory() as folder:
        started = time.process_time()
        run_search(**settings.to_json(), out=folder, evaluate=evaluate)
        took = time.process_time() - started
        drawn = read_trials(Path(folder) / "trials.csv")
    return Row(
        name=name,
        seconds=estimate.seconds,
        low=estimate.low,
        high=estimate.high,
        architectures=estimate.architectures,
        measured_seconds=evaluate.seconds,
        measured_architectures=len({row.architecture for row in drawn}),
        all_seconds=took,
    )


class Timed:
    """Measures architectures and adds up the processor time in ``seconds``."""

    def __init__(self, evaluate: Evaluator) -> None:
        self._evaluate = evaluate
        self.seconds = 0.0

    def __call__(self, text: str) -> Measurement:
        """Measure an architecture."""
        started = time.process_time()
        measurement = self._evaluate(text)
        self.seconds += time.process_time() - started
        return measurement


def table(rows: Sequence[Row]) -> str:
    """A Markdown table with one line per search."""
    columns = {"search": "l", "estimated, s": "r", "interval": "r", "measuring took, s": "r"}
    columns |= {"error": "r", "architectures estimated, measured": "r", "whole run, s": "r"}
    cells = [
        (
            row.name,
            f"{row.seconds:.1f}",
            f"{row.low:.1f} to {row.high:.1f}",
            f"{row.measured_seconds:.1f}",
            f"{row.error:+.0%}",
            f"{row.architectures:.0f}, {row.measured_architectures}",
            f"{row.all_seconds:.1f}",
        )
        for row in rows
    ]
    return markdown(columns, cells)


if __name__ == "__main__":
    main()
