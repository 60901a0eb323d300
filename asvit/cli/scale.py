"""``asvit scale``."""

from asvit.cli.run_command import run_command
from asvit.runs.scaling import ScaleRun

command = run_command(ScaleRun)
