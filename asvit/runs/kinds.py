"""Every kind of run that comes with asvit, registered by its command."""

from asvit.runs.run import register_run
from asvit.runs.scaling import ScaleRun

for _kind in (ScaleRun,):
    register_run(_kind)
