"""What people are shown of a supernet and of an evolution over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asvit.cli.supernet_progress import percent
from asvit.console import clock, table

if TYPE_CHECKING:
    from rich.console import Console

    from asvit.runs.supernets.evolution_result import EvolutionResult
    from asvit.runs.supernets.result import SupernetResult


def show_supernet(result: SupernetResult, screen: Console) -> None:
    """Write what training came to on ``screen``, and what to type next."""
    spread, losses = result.accuracy, result.losses
    screen.print(
        f"loss {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last; "
        f"{result.params:,} parameters"
    )
    screen.print(
        f"{spread.paths} random paths on the validation images: {percent(spread.lowest)} to "
        f"{percent(spread.highest)}, median {percent(spread.median)} "
        f"(chance {percent(100 / result.num_classes)})"
    )
    screen.print(f"trained in {clock(result.wall_seconds)}")
    screen.print(f"folder: {result.folder} (supernet.safetensors, losses.csv, result.json)")
    screen.print(f"next:   {result.next_command}")


def show_evolution(result: EvolutionResult, screen: Console) -> None:
    """Write the generations and the winner beside random paths on ``screen``."""
    columns = ["generation", "paths", "best", "median", "best so far"]
    cells = [list(vars(row).values()) for row in result.generations]
    screen.print()
    screen.print(table(columns, cells, title="Validation accuracy, inherited weights, per cent"))
    winner = result.winner
    rows: list[list[object]] = [["winner", winner.validation, winner.test]]
    for name, words in (("in_window", "within the limit"), ("anywhere", "of any cost")):
        compared = getattr(result, name)
        rows.append(
            [
                f"median of {compared.test.paths} random paths {words}",
                compared.validation.median,
                compared.test.median,
            ]
        )
    title = "The winner beside random paths with the same weights"
    screen.print(table(["", "validation", "test"], rows, title=title, left=("",), rule=1))
    limit = result.settings.max_macs
    screen.print(
        f"winner: {winner.architecture} ({winner.params:,} params, {winner.macs:,} of {limit:,} "
        "multiply-adds)"
    )
    if result.retrained is not None:
        came_to = result.retrained["reason"] or percent(result.retrained["accuracy"])
        screen.print(f"trained from scratch: {came_to} on the test images")
    screen.print(f"{result.evaluated} paths in {clock(result.wall_seconds)}")
    if result.reason:
        screen.print(f"ended early: {result.reason}")
    screen.print(
        f"folder: {result.folder} (report.html, trials.csv, result.json, weights, figures)"
    )
    screen.print(f"next:   {result.next_command}")
