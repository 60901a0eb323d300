"""Every kind of run that comes with asvit, registered by its command."""

from asvit.runs.correlation import CorrelationRun
from asvit.runs.run import RUNS
from asvit.runs.scaling import ScaleRun
from asvit.runs.search import SearchRun
from asvit.runs.training import TrainRun

for _kind in (SearchRun, ScaleRun, CorrelationRun, TrainRun):
    RUNS.register(_kind.command, _kind)
