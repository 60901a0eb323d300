"""Text for error messages: names and hints, first lines, and what went wrong where."""

import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from proxies.text import listed, one_line, shown

# Phrases of libraries' errors when memory ran out, besides errors of a type of their own. The last
# are oneDNN's, which uses them for anything that it cannot set up.
_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "Cannot allocate memory"),
    *("STATUS_ALLOC_FAILED", "_ALLOCATION_FAILED"),  # of cuBLAS and cuDNN
    *("std::bad_alloc", "can't start new thread", "could not create a primitive"),
    "could not execute a primitive",  # torch 2.9
)

_MAX_NAME = 200  # of a name; finding close matches of a longer one would take minutes

# Kind of name -> where custom names come from.
_ELSEWHERE = {
    "proxy": " (modules named in ASVIT_EXTENSIONS register measures of your own)",
    "prefix": " (modules named in ASVIT_EXTENSIONS register spaces of your own)",
}

# Raised on purpose, with a message that says what is wrong.
_SELF_EXPLANATORY = (ValueError, RuntimeError, AssertionError, OSError, ImportError, SyntaxError)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` most similar to ``name`` in either case; None if none is similar."""
    if len(name) > _MAX_NAME:
        return None
    by_case = {one.casefold(): one for one in reversed([*names])}
    matches = get_close_matches(name.casefold(), by_case, n=1)
    return by_case[matches[0]] if matches else None


def hint(name: str, choices: Iterable[str]) -> str:
    """Suggest the nearest of ``choices`` instead of ``name``, or list all of them."""
    names = list(choices)
    near = nearest(name, names)
    return f"use one of {listed(names)}" if near is None else f"did you mean {shown(near)}?"


def unknown(kind: str, name: str, names: Iterable[str]) -> str:
    """Error message for an unknown name."""
    return f"unknown {kind} {shown(name)}; {hint(name, names)}{_ELSEWHERE.get(kind, '')}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if the message is empty."""
    return one_line(str(error).strip().partition("\n")[0]) or type(error).__name__


def out_of_memory(failure: BaseException | str) -> bool:
    """Whether an error, or its text, means that an accelerator or the host ran out of memory."""
    # By the name of its type, as importing torch takes seconds.
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError":
        return True
    words = str(failure) if isinstance(failure, str | RuntimeError | OSError) else ""
    return any(phrase in words for phrase in _OUT_OF_MEMORY)


def fault(error: BaseException) -> str:
    """The message of an error, with its type and place where it is not raised on purpose."""
    if isinstance(error, _SELF_EXPLANATORY):
        return first_line(error)
    kind, message = type(error).__name__, first_line(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({one_line(Path(frames[-1].filename).name)}:{frames[-1].lineno})" if frames else ""
    return f"{kind}{where}" if message == kind else f"{kind}: {message}{where}"
