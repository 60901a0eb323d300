"""``asvit reference``: make a reference table of one's own."""

import click

from asvit.cli.run_command import run_command
from asvit.runs.reference import BuildRun


@click.group(no_args_is_help=True)
def command() -> None:
    """Make reference tables: architectures with the accuracies they were trained to."""


command.add_command(run_command(BuildRun))
