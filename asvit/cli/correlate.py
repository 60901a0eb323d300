"""``asvit correlate``."""

from asvit.cli.run_command import run_command
from asvit.runs.correlation import CorrelationRun

command = run_command(CorrelationRun)
