"""Every kind of run, registered by its command: asvit's own, and those that packages install."""

import logging

from asvit.core.extensions import installed_runs
from asvit.core.results import RUNS
from asvit.runs.correlation import CORRELATE
from asvit.runs.designing import DESIGN
from asvit.runs.evaluating import TEST
from asvit.runs.evolution import EVOLVE
from asvit.runs.run_folder import register_kind
from asvit.runs.scaling import SCALE
from asvit.runs.search import SEARCH
from asvit.runs.supernet import SUPERNET
from asvit.runs.training import TRAIN
from asvit.runs.transfer import DETECT, SEGMENT
from proxies.messages import fault

for _own in (DESIGN, SEARCH, SCALE, TRAIN, CORRELATE, SUPERNET, EVOLVE, DETECT, SEGMENT, TEST):
    register_kind(_own)

for _entry in installed_runs():
    try:
        _kind = _entry.load()
        if RUNS.get(_kind.command) is not _kind:  # unless it has registered itself
            register_kind(_kind)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - others' code, which must not stop ours
        logging.getLogger(__name__).warning(
            "asvit %s cannot be loaded from %s: %s", _entry.name, _entry.module, fault(error)
        )
