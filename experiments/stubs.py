"""Writes asvit/__init__.pyi: the public names as type checkers and editors see them.

Run from a checkout: ``python -m experiments.stubs``. A function whose keywords are fields of
settings stands there with its whole signature, the other names as imports.
"""

import ast
import builtins
import inspect
import re
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import asvit

STUB = Path(asvit.__file__).with_name("__init__.pyi")

_DOTTED = re.compile(r"([a-z_][\w.]*)\.([A-Za-z]\w*)")
_NAME = re.compile(r"(?<!['\w])[A-Za-z]\w*(?![\w'])")


def stub() -> str:
    """The text of the stub as the code is now."""
    modules: dict[str, str] = {}  # by the names imported from them
    definitions = []
    for name in asvit.__all__[1:]:
        public: Any = getattr(asvit, name)
        if hasattr(public, "__signature__"):
            definitions.append(_definition(public, modules))
        else:
            modules[name] = public.__module__
    lines = [
        f"from {module} import {name}{f' as {name}' if name in asvit.__all__ else ''}"
        for name, module in sorted(modules.items(), key=lambda item: item[::-1])
    ]
    head = ["# Written by `python -m experiments.stubs`.", "", *lines]
    return "\n".join([*head, "", "__all__: list[str]", "__version__: str", "", *definitions])


def _definition(function: Any, modules: dict[str, str]) -> str:
    """A function with its signature; what its annotations name is added to ``modules``."""

    def text(annotation: Any) -> str:
        if get_origin(annotation) in (Union, UnionType):
            return " | ".join(map(text, get_args(annotation)))
        written = annotation
        if annotation is NoneType:
            written = "None"
        elif not isinstance(annotation, str):
            written = inspect.formatannotation(annotation)
            modules.update({name: module for module, name in _DOTTED.findall(written)})
            written = _DOTTED.sub(r"\2", written)
        for name in _NAME.findall(written):
            if not hasattr(builtins, name) and name not in modules:
                value = function.__globals__.get(name)
                modules[name] = value.__module__ if isinstance(value, type) else _imported()[name]
        return str(written)

    signature = inspect.signature(function)
    lines = [f"def {function.__name__}("]
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and "    *," not in lines:
            lines.append("    *,")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"    {name}: {text(parameter.annotation)}{default},")
    return "\n".join([*lines, f") -> {text(signature.return_annotation)}: ...", ""])


@cache
def _imported() -> dict[str, str]:
    """Name -> module, of what the modules of runs import, for type checkers or at run time."""
    return {
        one.name: node.module
        for path in STUB.parent.glob("runs/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for one in node.names
    } | {"Literal": "typing"}


def main() -> None:
    """Write the stub."""
    STUB.write_text(stub(), encoding="utf-8")


if __name__ == "__main__":
    main()
