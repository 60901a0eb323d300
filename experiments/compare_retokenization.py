"""Does coarse-to-fine re-tokenization reach the accuracy of plain training at lower cost?

Run from a checkout: ``python -m experiments.compare_retokenization``. Each training is an ordinary
run folder, so a stopped comparison continues when the command is given again. For each seed and on
the same images it trains the network plainly and with coarse tokens first, for the same number of
epochs; then plainly for the epochs that cost as many multiply-adds as the re-tokenized training;
and with ``--long`` re-tokenized for the epochs that cost as many as the plain one.
"""

import argparse
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asvit.models.retokenization import Tokens
from asvit.runs.training import run_training
from asvit.training.result import TrainResult
from experiments.growing import SEED
from experiments.tables import write_rows

PLAIN, COARSE = "plain", "re-tokenized"
SHORT, LONG = "plain, fewer epochs", "re-tokenized, more epochs"
COLOURS = {PLAIN: "#66707b", COARSE: "#bd5519", LONG: "#2862a5", SHORT: "#3f7d4e"}
EPOCHS = 60
STAGES = "0.4/0.3/0.3"  # of tokens, in shares of the epochs
#: There are only a few thousand updates, so the learning rate is higher than that of "small".
SETTINGS: Mapping[str, Any] = {
    "recipe": "small",
    "learning_rate": 2e-3,
    "drop_path": 0.0,
    "data": "fractal:10",
    "train_images": 2000,
    "validation_images": 500,
    "image_size": 64,
    "batch_size": 50,
}


@dataclass(frozen=True)
class Row:
    """One training: its accuracy, and its cost relative to the plain one of the seed."""

    schedule: str
    seed: int
    epochs: int
    top1: float
    best: float
    macs: float
    seconds: float
    macs_to_plain: float | None
    seconds_to_plain: float | None


def main() -> None:
    """Run the missing trainings, then write the table and the figure."""
    options = _options()
    runs: dict[tuple[str, int], TrainResult] = {}
    for seed in range(options.seeds):
        plain = _train(options.out, PLAIN, seed, EPOCHS)
        coarse = _train(options.out, COARSE, seed, EPOCHS)
        share = _macs(coarse)[-1] / _macs(plain)[-1]
        short = _train(options.out, SHORT, seed, max(1, round(EPOCHS * share)))
        runs |= {(PLAIN, seed): plain, (COARSE, seed): coarse, (SHORT, seed): short}
        if options.long:
            runs[LONG, seed] = _train(options.out, LONG, seed, round(EPOCHS / share))
    rows = [_row(key, result, runs[PLAIN, key[1]]) for key, result in runs.items()]
    write_rows(options.out / "retokenization.csv", rows)
    _figure(runs).savefig(options.out / "retokenization.svg")
    print(_table(rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... of each schedule")
    parser.add_argument("--long", action="store_true", help="also for the plain one's cost")
    parser.add_argument("--out", type=Path, default=Path("runs/retokenization"))
    return parser.parse_args()


def _train(out: Path, schedule: str, seed: int, epochs: int) -> TrainResult:
    folder = out / f"{schedule.replace(',', '').replace(' ', '-')}-seed{seed}"
    print(f"{schedule}, seed {seed}: {folder}", flush=True)
    stages = STAGES if schedule in (COARSE, LONG) else "off"
    varied: dict[str, Any] = {"epochs": epochs, "retokenize": stages, "seed": seed}
    return run_training(SEED, out=folder, workers=0, **SETTINGS, **varied)


def _macs(result: TrainResult) -> list[float]:
    """Cumulative multiply-adds after each epoch, in epochs at full resolution."""
    shares = {str(Tokens(s["stride"], s["dilation"])): s["fraction"] for s in result.stages}
    return list(itertools.accumulate(shares.get(row.tokens, 1.0) for row in result.history))


def _seconds(result: TrainResult) -> list[float]:
    """Cumulative wall-clock seconds of training after each epoch, without validation."""
    images = result.settings.train_images or 0
    return list(itertools.accumulate(images / row.images_per_second for row in result.history))


def _row(key: tuple[str, int], result: TrainResult, plain: TrainResult) -> Row:
    schedule, seed = key
    macs, seconds = _macs(result), _seconds(result)
    # The first epoch that reaches the final accuracy of the plain training.
    goal = plain.last.top1
    there = next((i for i, row in enumerate(result.history) if row.top1 >= goal), None)
    return Row(
        schedule=schedule,
        seed=seed,
        epochs=len(result.history),
        top1=result.last.top1,
        best=max(row.top1 for row in result.history),
        macs=macs[-1] / _macs(plain)[-1],
        seconds=seconds[-1] / _seconds(plain)[-1],
        macs_to_plain=None if there is None else macs[there] / _macs(plain)[-1],
        seconds_to_plain=None if there is None else seconds[there] / _seconds(plain)[-1],
    )


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "| schedule | epochs | top-1 at the end, mean (each seed) | multiply-adds | time |",
        "|---|--:|---|--:|--:|",
    ]
    for schedule in dict.fromkeys(row.schedule for row in rows):
        own = [row for row in rows if row.schedule == schedule]
        each = ", ".join(f"{row.top1:.1f}" for row in own)
        lines.append(
            f"| {schedule} | {own[0].epochs} | {statistics.fmean(r.top1 for r in own):.1f} "
            f"({each}) | {statistics.fmean(r.macs for r in own):.1%} "
            f"| {statistics.fmean(r.seconds for r in own):.1%} |"
        )
    return "\n".join(lines)


def _figure(runs: Mapping[tuple[str, int], TrainResult]) -> Figure:
    """Accuracy over multiply-adds and over time, both relative to the plain training."""
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, spent, label in zip(
        panels, (_macs, _seconds), ("multiply-adds", "time in training"), strict=True
    ):
        _draw(axes, runs, spent)
        axes.set_xlabel(f"{label}, of the plain training's (%)")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("top-1 on validation images (%)")
    panels[1].legend(frameon=False, loc="lower right")
    return figure


def _draw(axes: Axes, runs: Mapping[tuple[str, int], TrainResult], spent: Any) -> None:
    for (schedule, seed), result in runs.items():
        whole = spent(runs[PLAIN, seed])[-1]
        axes.plot(
            [100 * x / whole for x in spent(result)],
            [row.top1 for row in result.history],
            color=COLOURS[schedule],
            linewidth=1,
            label=schedule if seed == 0 else None,
        )


if __name__ == "__main__":
    main()
