"""Every kind of run that comes with asvit, registered by its command."""

from asvit.runs.correlation import CorrelationRun
from asvit.runs.designing import DesignRun
from asvit.runs.evolution import EvolutionRun
from asvit.runs.reference import BuildRun
from asvit.runs.run import register_run
from asvit.runs.scaling import ScaleRun
from asvit.runs.search import SearchRun
from asvit.runs.supernet import SupernetRun
from asvit.runs.training import TrainRun
from asvit.runs.transfer import DetectionRun, SegmentationRun

for _kind in (
    *(SearchRun, ScaleRun, TrainRun, DesignRun),
    *(BuildRun, CorrelationRun, SupernetRun, EvolutionRun),
    *(DetectionRun, SegmentationRun),
):
    register_run(_kind)
