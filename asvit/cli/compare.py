"""``asvit compare``: runs beside each other."""

import click

from asvit.cli.manual import Documented
from asvit.cli.options import completes, emit_json, json_option, run_folders
from asvit.core.console import console


@click.command(cls=Documented)
@click.argument(
    "runs", metavar="RUN RUN...", nargs=-1, required=True, shell_complete=completes(run_folders)
)
@json_option
def command(runs: tuple[str, ...], as_json: bool) -> None:
    """Compare finished runs: settings that differ, results, and differences from the first.

    RUN is a run folder of any kind. Accuracies are compared in pairs where both runs tested the
    same pictures; other differences have an interval where the numbers have one.
    """
    if len(runs) < 2:
        raise click.UsageError(f"{len(runs)} run to compare; name two or more")
    from asvit.runs.comparing import compare
    from asvit.runs.reporting import show_summary

    comparison = compare(*runs)
    if as_json:
        emit_json(comparison.to_json())
    else:
        show_summary(comparison.summary(), console())
