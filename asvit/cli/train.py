"""``asvit train``."""

from asvit.cli.run_command import run_command
from asvit.runs.training import TrainRun

command = run_command(TrainRun)
