"""Digests of users' code, stored with what follows from it, and which definitions are one."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

_OURS = ("proxies", "asvit", "scaling")  # fixed by asvit's version


def source_of(functions: Iterable[Callable[..., Any] | None]) -> str:
    """Digest of the code of functions or classes of a user; empty for asvit's own.

    A module counts as a whole, as its functions call each other. Of a script or a notebook, which
    change all the time, only the functions count. Code without a file gets a new digest each time.
    """
    codes = [text for function in functions if function is not None for text in _texts(function)]
    return hashlib.sha256(b"\0".join(codes)).hexdigest()[:16] if codes else ""


def lasting_source(function: Callable[..., Any]) -> str:
    """Digest of the code of a function that is the same in other sessions.

    It is "unknown" for code without a file, and leaves out arguments of a ``partial``.
    """
    while isinstance(function, partial):
        function = function.func
    digest = source_of([function])
    return digest if digest == source_of([function]) else "unknown"


def same_definition(first: Any, second: Any) -> bool:
    """Whether two functions, classes or objects of classes are one definition, maybe edited since.

    These have one name in one module. Those without names, or within functions, may be different
    ones, except in a notebook; asvit's own always are.
    """
    codes = [code.func if isinstance(code, partial) else code for code in (first, second)]
    places = {(code.__module__, code.__qualname__) for code in map(_definition, codes)}
    module, name = min(places)
    if len(places) == 2 or _is_ours(module):
        return False
    return module == "__main__" or "<" not in name


def _definition(code: Any) -> Any:
    """A function or class itself, else the class of an object."""
    return code if hasattr(code, "__qualname__") else type(code)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _OURS


def _texts(function: Any) -> list[bytes]:
    """The code of a function; empty for asvit's own."""
    if isinstance(function, partial):
        arguments = repr((function.args, sorted(function.keywords.items())))
        return [*_texts(function.func), arguments.encode()]
    definition = _definition(function)
    module = sys.modules.get(str(definition.__module__))
    if _is_ours(str(definition.__module__)):
        return []
    try:
        if module is not None and module.__name__ != "__main__" and module.__file__:
            return [Path(module.__file__).read_bytes()]
        return [_source(definition).encode()]
    except (OSError, TypeError, AttributeError):
        return [uuid4().bytes]


def _source(definition: Any) -> str:
    """The source of a function or a class; of a class in a notebook, its functions and values."""
    try:
        return inspect.getsource(definition)
    except (OSError, TypeError):
        if not inspect.isclass(definition):
            raise
    members = vars(definition).items()
    # Properties hold their functions as fget, cached ones and partial methods as func.
    inner = (getattr(member, "fget", getattr(member, "func", member)) for _, member in members)
    codes = map(inspect.unwrap, inner)
    functions = [inspect.getsource(code) for code in codes if inspect.isfunction(code)]
    if not functions:
        raise OSError(f"no function of {definition} has a source")
    plain = bool, int, float, str, tuple, list, dict
    values = [
        f"{name} = {member!r}"
        for name, member in members
        if isinstance(member, plain) and not name.startswith("__")
    ]
    return "\n".join([*functions, *values])
