"""One call of the program: its words, and whether errors show a traceback."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

import click

_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^/\s]*@")


@dataclass
class Session:
    """What holds for one call of the program."""

    arguments: tuple[str, ...] = ()
    debug: bool = False


def again(context: click.Context) -> str:
    """What to type to go on with the command of ``context`` after an interrupt.

    Passwords in addresses are left out: what is on stderr often ends up in a log.
    """
    session = context.find_object(Session)
    words = [word for word in (session.arguments if session else ()) if word != "--fresh"]
    return shlex.join(["asvit", *(_PASSWORD.sub(r"\1***@", word) for word in words)])


def _set_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    session = context.find_object(Session)
    if value and session is not None:
        session.debug = True


def debug_option() -> click.Option:
    """``--debug``, as the program and every command take it."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )
