"""Imports ``proxies`` and ``scaling`` from beside this package, whatever else has their names.

A working folder or ``PYTHONPATH`` may hold packages, modules or plain folders so named. Python
prefers a package that is earlier on its path and, to an editable install, even a plain folder.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

_INSTALLED = Path(__file__).parents[1]


def import_own_packages() -> None:
    """Make the names of our packages mean ours, in this process.

    Raises:
        ImportError: If another package of such a name has been imported already.
    """
    for name in ("proxies", "scaling"):
        imported = sys.modules.get(name)
        spec = find_spec(name) if imported is None else imported.__spec__
        own = _INSTALLED / name / "__init__.py"
        if _is_of(spec, own):
            continue
        if imported is not None:
            raise ImportError(
                f"asvit needs its package {name!r}, but {_place(spec)} has been imported under "
                "this name; rename that one, or import asvit before it"
            )
        _load(name, own)
        # A new process of ours (python -m) imports nothing of the user's by this name.
        if spec is not None and spec.origin is not None and sys.argv[:1] != ["-m"]:
            import logging  # late: import asvit is to be quick

            logging.getLogger(__name__).warning(
                "asvit's package %r hides %s in this process; rename that one to import both",
                name,
                _place(spec),
            )


def _is_of(spec: ModuleSpec | None, file: Path) -> bool:
    origin = None if spec is None else spec.origin
    return origin is not None and Path(origin).resolve() == file.resolve()


def _place(spec: ModuleSpec | None) -> str:
    """The file or the folder of a module."""
    if spec is None:
        return "a module without a file"
    return spec.origin or ", ".join(spec.submodule_search_locations or ())


def _load(name: str, file: Path) -> None:
    folder = [str(file.parent)]
    spec = spec_from_file_location(name, file, submodule_search_locations=folder)
    if spec is None or spec.loader is None:
        raise ImportError(f"no loader for {file}")
    sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except BaseException:
        del sys.modules[name]
        raise
