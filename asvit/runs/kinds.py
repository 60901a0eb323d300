"""Every kind of run, registered by its command: asvit's own, and those that packages install."""

import logging
from pkgutil import resolve_name

from asvit.core.extensions import installed_runs
from asvit.core.results import RUNS
from asvit.runs import KINDS
from asvit.runs.run_folder import register_kind
from proxies.messages import fault

for _place in KINDS.values():
    register_kind(resolve_name(_place))

for _entry in installed_runs():
    try:
        _kind = _entry.load()
        if RUNS.get(_kind.command) is not _kind:  # unless it has registered itself
            register_kind(_kind)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - others' code, which must not stop ours
        logging.getLogger(__name__).warning(
            "asvit %s cannot be loaded from %s: %s", _entry.name, _entry.module, fault(error)
        )
