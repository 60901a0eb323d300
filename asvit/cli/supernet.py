"""``asvit supernet``: train all paths of a space at once, then find the best of them."""

import click

from asvit.cli.run_command import run_command
from asvit.runs.evolution import EvolutionRun
from asvit.runs.supernet import SupernetRun


@click.group(no_args_is_help=True)
def command() -> None:
    """Search with shared weights: train a supernet, then choose among its paths."""


for _run in (SupernetRun, EvolutionRun):
    command.add_command(run_command(_run))
