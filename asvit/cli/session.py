"""The state of one call of the program, and ``--debug``."""

from dataclasses import dataclass

import click


@dataclass
class Session:
    """The state of one call of the program."""

    arguments: tuple[str, ...] = ()
    debug: bool = False


def _set_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    session = context.find_object(Session)
    if value and session is not None:
        session.debug = True


#: Of the program and of every command.
debug_option = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of an error.",
)
