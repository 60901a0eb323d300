"""Does a controller find better architectures than random search with as many draws?

Run from a checkout: ``python -m experiments.compare_controllers``. Every run is an ordinary run
folder, so a stopped comparison continues when the command is given again.

All architectures drawn with one seed are ranked together, by the sum of their dense ranks in L^E
and κ_Θ, from 0 (best) to 1 (worst). The rewards of REINFORCE are changes from step to step and
cannot be compared between runs; these ranks can.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

import asvit
from asvit.runs.search import SearchRun
from asvit.search import MeasureSearchSettings, TrialRow, read_trials
from asvit.search.result import SearchResult
from experiments.tables import write_rows
from scaling.ranking import Better, dense_ranks, rank_sums

BETTER: dict[str, Better] = {"length_distortion": "higher", "ntk_condition_number": "lower"}
COLOURS = ("#2862a5", "#bd5519", "#3f7d4e", "#7a4fa3", "#66707b")


@dataclass(frozen=True)
class Row:
    """One run: its result, and the ranks of its draws among those of all runs."""

    controller: str
    seed: int
    seed_architecture: str
    params: int
    macs: int
    length_distortion: float
    ntk_condition_number: float
    outcome_rank: float
    best_rank: float
    mean_rank_first: float
    mean_rank_last: float
    last_entropy: float
    minutes: float


def main() -> None:
    """Run the missing searches, then write the table and the figure."""
    options = _options()
    settings = MeasureSearchSettings.make(
        options.preset, steps=options.steps, repeats=options.repeats
    )
    runs = {
        (controller, seed): _search(options, controller, seed)
        for seed in range(options.seeds)
        for controller in options.controllers
    }
    trials = {key: read_trials(result.folder / "trials.csv") for key, result in runs.items()}
    ranks = _pooled_ranks(runs, trials)
    rows = [_row(key, runs[key], trials[key], ranks, options.window) for key in runs]
    write_rows(options.out / "controllers.csv", rows)
    _figure(trials, ranks, options.window).savefig(options.out / "controllers.svg")
    print(_table(rows, settings, options.window))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--controllers", nargs="+", default=["reinforce", "random"])
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... of each controller")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--repeats", type=int, default=3, help="networks a value is averaged over")
    parser.add_argument("--window", type=int, default=100, help="first and last draws averaged")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    return parser.parse_args()


def _search(options: argparse.Namespace, controller: str, seed: int) -> SearchResult:
    chosen = {
        "preset": options.preset,
        "steps": options.steps,
        "repeats": options.repeats,
        "controller": controller,
        "seed": seed,
        "pick": "policy",  # what the controller ends in
    }
    folder = options.out / SearchRun.make(**chosen).folder.name
    print(f"{controller}, seed {seed}: {folder}", flush=True)
    return asvit.run_search(**chosen, out=folder)


def _pooled_ranks(
    runs: dict[tuple[str, int], SearchResult], trials: Mapping[tuple[str, int], Sequence[TrialRow]]
) -> dict[tuple[int, str], float]:
    """(seed, architecture) -> rank among all draws of the seed, in [0, 1], by summed dense ranks.

    Runs of one seed share circle, images and initial weights. Across seeds only ranks compare.
    """
    ranks: dict[tuple[int, str], float] = {}
    for seed in {seed for _, seed in runs}:
        values = {
            row.architecture: dict(row.values)
            for (_, other), rows in trials.items()
            if other == seed
            for row in rows
        }
        values |= {
            result.seed_architecture: dict(result.values)
            for (_, other), result in runs.items()
            if other == seed
        }
        texts = list(values)
        columns = {name: [values[text][name] for text in texts] for name in BETTER}
        order = dense_ranks(rank_sums(columns, BETTER), better="lower")
        worst = max(order)
        ranks |= {
            (seed, text): (rank - 1) / max(1, worst - 1)
            for text, rank in zip(texts, order, strict=True)
        }
    return ranks


def _row(
    key: tuple[str, int],
    result: SearchResult,
    rows: Sequence[TrialRow],
    ranks: dict[tuple[int, str], float],
    window: int,
) -> Row:
    controller, seed = key
    drawn = [ranks[seed, row.architecture] for row in rows]
    return Row(
        controller=controller,
        seed=seed,
        seed_architecture=result.seed_architecture,
        params=result.params,
        macs=result.macs,
        length_distortion=result.length_distortion,
        ntk_condition_number=result.ntk_condition_number,
        outcome_rank=ranks[seed, result.seed_architecture],
        best_rank=min(drawn),
        mean_rank_first=statistics.fmean(drawn[:window]),
        mean_rank_last=statistics.fmean(drawn[-window:]),
        last_entropy=result.entropy[1],
        minutes=result.wall_seconds / 60,
    )


def _table(rows: Sequence[Row], settings: MeasureSearchSettings, window: int) -> str:
    lines = [
        f"{settings.steps} draws a run, {settings.image_size} px, {settings.repeats} networks "
        f"each, {settings.images} images; ranks from 0 (best of the seed's draws) to 1",
        "",
        "| controller | seed | outcome | params | MACs | L^E | κ_Θ | outcome's rank "
        f"| best rank drawn | mean rank, first {window} | last {window} | entropy at the end |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda row: (row.controller, row.seed)):
        text = row.seed_architecture.replace("|", "\\|")
        entropy = f"{row.last_entropy:.2f}" if row.last_entropy == row.last_entropy else "-"
        lines.append(
            f"| {row.controller} | {row.seed} | `{text}` | {row.params / 1e6:.2f}M "
            f"| {row.macs / 1e6:.1f}M | {row.length_distortion:.3f} "
            f"| {row.ntk_condition_number:.1f} | {row.outcome_rank:.3f} | {row.best_rank:.3f} "
            f"| {row.mean_rank_first:.3f} | {row.mean_rank_last:.3f} | {entropy} |"
        )
    return "\n".join(lines)


def _figure(
    trials: Mapping[tuple[str, int], Sequence[TrialRow]],
    ranks: dict[tuple[int, str], float],
    window: int,
) -> Figure:
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    controllers = list(dict.fromkeys(controller for controller, _ in trials))
    for (controller, seed), rows in trials.items():
        drawn = [ranks[seed, row.architecture] for row in rows]
        means = [
            statistics.fmean(drawn[max(0, end - window) : end]) for end in range(1, len(drawn) + 1)
        ]
        colour = COLOURS[controllers.index(controller) % len(COLOURS)]
        axes.plot(
            range(1, len(means) + 1),
            means,
            color=colour,
            linewidth=1.4,
            label=controller if seed == 0 else None,
        )
    axes.set_xlabel("architectures measured")
    axes.set_ylabel(f"rank among all, mean of {window}\n(lower is better)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
