"""Every kind of run that comes with asvit, registered by its command."""

from asvit.runs.correlation import CorrelationRun
from asvit.runs.run import RUNS
from asvit.runs.scaling import ScaleRun

for _kind in (ScaleRun, CorrelationRun):
    RUNS.register(_kind.command, _kind)
