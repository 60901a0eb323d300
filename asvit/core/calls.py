"""Names with arguments in texts, such as ``shiftvit_r2_tiny(depths=[4,5,12,4],step=2)``."""

import ast
import keyword
import math
import warnings
from collections.abc import Mapping
from typing import Any

from proxies.text import shown

LONGEST = 500  # characters of a text

#: A number, a name or another text, a truth value, or a tuple of these.
Value = bool | int | float | str | tuple[Any, ...]


def parse_call(text: str) -> tuple[str, dict[str, Value]]:
    """The name, and its arguments by name; there are none without brackets.

    Values are as in Python: numbers, texts in quotes, True and False, lists. A name stands for
    itself.
    """
    name, opened, rest = text.partition("(")
    if not opened:
        return text, {}
    wrong = ValueError(
        f"{shown(text)} is not NAME(ARGUMENT=VALUE,...), such as net(step=2,kind=x)"
    )
    if len(text) > LONGEST:
        raise wrong
    try:
        with warnings.catch_warnings(action="ignore"):  # of numbers that run into words
            call = ast.parse(f"f({rest}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise wrong from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise wrong
    arguments: dict[str, Value] = {}
    for argument in call.keywords:
        if argument.arg is None or argument.arg in arguments:
            raise wrong
        try:
            arguments[argument.arg] = _value(argument.value)
        except (TypeError, ValueError):  # such as a list as a dictionary's key
            raise wrong from None
    return name, arguments


def call_text(name: str, arguments: Mapping[str, Value]) -> str:
    """The text of a name and its arguments, which are put in order."""
    if not arguments:
        return name
    listed = (f"{key}={_text(value)}" for key, value in sorted(arguments.items()))
    return f"{name}({','.join(listed)})"


def _value(node: ast.expr) -> Value:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(_value(element) for element in node.elts)
    value = ast.literal_eval(node)
    if not isinstance(value, bool | int | float | str) or value in (math.inf, -math.inf):
        raise ValueError
    return value


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(_text, value))}]"
    # Python folds letters that are not ASCII, such as ª to a.
    named = isinstance(value, str) and value.isascii() and value.isidentifier()
    named = named and not keyword.iskeyword(str(value))
    return str(value) if named else repr(value)
