"""``asvit train``, and its ``--dry-run``."""

from asvit.cli.output import emit_json
from asvit.cli.run_command import run_command
from asvit.core.codec import to_json
from asvit.core.console import console
from asvit.runs.training import TrainRun, plan_lines


def show_plan(run: TrainRun, *, quiet: bool, as_json: bool) -> None:
    """Show what a training would do."""
    plan = run.plan()
    if as_json and run.first:
        emit_json(to_json(plan))
    if run.first and not (as_json and quiet):
        screen = console(err=as_json)
        for line in plan_lines(plan):
            screen.print(line)


command = run_command(TrainRun, dry_run=("Show what would be done, and end.", show_plan))
