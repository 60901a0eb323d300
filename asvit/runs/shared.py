"""What declarations of kinds share: options of their runs, and the table that judges measures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from asvit.core.settings import setting, setting_of, settings_class
from asvit.core.shared_settings import MeasuringSettings
from asvit.core.summary import Cell, SummaryPart, Table
from asvit.executors.base import Workers
from asvit.reference.findings import estimates
from asvit.runs.run_folder import RunOptions

if TYPE_CHECKING:
    from asvit.reference.findings import Reliability


@settings_class
class MeasuringOptions(RunOptions):
    """Options of a run that measures, which do not change its result."""

    workers: Workers | None = None


@settings_class
class DeviceOptions(RunOptions):
    """Options of a run on one device that do not change its result."""

    device: str = setting_of(MeasuringSettings, "device", repeats=False)


@settings_class
class SharedOptions(RunOptions):
    """Options of a run whose processes, started by accelerate or torchrun, share every batch."""

    device: str = setting_of(MeasuringSettings, "device", repeats=False)
    workers: int | None = setting(
        None,
        "Processes that prepare images; none for fewer than 2,000 images (on a GPU only where all "
        "epochs together have fewer than 20,000).",
        at_least=0,
        shown="the cores there are, at most 8, of a training on a GPU 32",
        repeats=False,
    )
    checkpoint_minutes: float = setting(
        15.0,
        "Minutes between two checkpoints at most; 0 for none within an epoch.",
        at_least=0,
        repeats=False,
    )


def folder_name(command: str, network: str, image_size: int, seed: int) -> str:
    """The name of a folder, after the network, the image size and the seed."""
    text = re.sub("[^A-Za-z0-9.]+", "-", network)[:200].rstrip("-")
    return f"{command.split()[-1]}-{text}-{image_size}px-seed{seed}"


def rank_table(reliability: Reliability | None) -> Iterator[SummaryPart]:
    """How well the measures of a run rank a table, if there is one."""
    if reliability is None:
        return
    measures, count = reliability.measures, reliability.best_count
    rows: list[list[Cell]] = [
        [row.measure, row.n, row.dropped, *estimates(row)]
        for row in (*measures, *([] if count is None else [count]))
    ]
    title = f"How the measures rank {reliability.reference}, {reliability.target}"
    if reliability.noise_ceiling is not None:
        title += f"; noise ceiling {reliability.noise_ceiling:.3f}"
    columns = ["measure", "n", "dropped", "τ [95 %]", "τ − count's"]
    yield Table(columns, rows, title, rule=len(measures))
    yield from (f"{row.measure}: {row.reason}" for row in measures if row.reason)
    rank = measures[-1]
    if math.isnan(rank.tau):
        yield f"{rank.measure} does not rank these architectures."
    else:
        share, low, high = (50 * (1 + tau) for tau in (rank.tau, *rank.tau_interval))
        verdict = "" if low > 50 else ", not shown to be better than chance"
        yield (
            f"{rank.measure} puts the more accurate of two of these architectures first in about "
            f"{share:.0f} % of pairs ({low:.0f} to {high:.0f}){verdict}."
        )
    yield (
        f"{reliability.description}; {reliability.rows} architectures, "
        f"{'' if count is None else 'the last row is the best count; '}"
        f"stored scores ({reliability.scores})"
    )
