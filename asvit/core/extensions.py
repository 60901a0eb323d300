"""Extensions: modules that the environment names, and kinds of runs that packages install."""

import os
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from proxies.messages import fault
from proxies.text import shown

#: Environment variable with their names, separated by commas; worker processes inherit it.
VARIABLE = "ASVIT_EXTENSIONS"
#: Group of entry points: kinds of runs, each named after its command.
GROUP = "asvit.runs"

_started: set[str] = set()  # imports may be nested: an extension imports asvit, which calls us


def load_extensions() -> None:
    """Import the modules named in the environment, each once."""
    new = [name for name in _named() if name not in _started]
    _started.update(new)
    for name in new:
        try:
            import_module(name)
        except (Exception, SystemExit) as error:  # user code may raise anything
            _started.difference_update(new)
            raise ValueError(
                f"{VARIABLE} names {shown(name)}, which cannot be imported: {fault(error)}"
            ) from error


def raised_in_extension(error: BaseException | None) -> bool:
    """Whether ``error``, or its cause, passed through an extension."""
    if error is None:
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [f"{frame.f_globals.get('__name__')}." for frame in frames]
    packages = (run.module.partition(".")[0] for run in installed_runs())
    names = [*_named(), *packages]
    inside = any(module.startswith(f"{name}.") for module in modules for name in names)
    return inside or raised_in_extension(error.__cause__)


@cache
def installed_runs() -> Sequence[EntryPoint]:
    """The kinds of runs of installed packages, which are not imported by this."""
    return sorted(entry_points(group=GROUP))


def _named() -> list[str]:
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return [name for name in names if name]
