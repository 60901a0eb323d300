"""Every kind of run that comes with asvit, registered by its command."""

from asvit.runs.run import RUNS
from asvit.runs.scaling import ScaleRun

for _kind in (ScaleRun,):
    RUNS.register(_kind.command, _kind)
