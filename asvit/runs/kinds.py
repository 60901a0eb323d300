"""Every kind of run that comes with asvit, registered by its command."""

from asvit.runs.evolution import EvolutionRun
from asvit.runs.reference import BuildRun
from asvit.runs.run import RUNS
from asvit.runs.scaling import ScaleRun
from asvit.runs.supernet import SupernetRun

for _kind in (ScaleRun, BuildRun, SupernetRun, EvolutionRun):
    RUNS.register(_kind.command, _kind)
