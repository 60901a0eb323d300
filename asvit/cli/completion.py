"""``asvit completion``: the script that teaches a shell to complete ``asvit``."""

import click
from click.shell_completion import get_completion_class

from asvit.cli.app import app
from asvit.cli.manual import Documented

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Documented)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    It completes commands, options, names and run folders.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise ValueError(
            f"click knows no completion for {shell!r}; use one of {', '.join(SHELLS)}"
        )
    source = kind(app, {}, "asvit", "_ASVIT_COMPLETE").source()
    # click's script for fish cuts values at commas, which separate names in a list.
    click.echo(source.replace('string split ","', 'string split --max 1 ","'))
    if shell == "bash":  # which breaks words at colons, as in timm:NAME
        click.echo("COMP_WORDBREAKS=${COMP_WORDBREAKS//:}")
