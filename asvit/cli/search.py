"""``asvit search``, and its ``--dry-run``."""

from asvit.cli.estimate import show_estimate
from asvit.cli.run_command import run_command
from asvit.runs.search import SearchRun

_DRY_RUN = "Only tell what the run would do and take; write nothing."

command = run_command(SearchRun, dry_run=(_DRY_RUN, show_estimate))
