"""Writes the option tables of docs/commands.md from the commands themselves.

Run from a checkout: ``python -m experiments.command_tables``. A table stands below a line
``<!-- options of search -->``, whose words are those of the command.
"""

from __future__ import annotations

from pathlib import Path

import click

from asvit.cli.app import app
from experiments.tables import fill_tables

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"


def rewritten(page: str) -> str:
    """``page`` with every table as the commands have it now."""
    return fill_tables(page, "options of", table)


def table(words: str) -> str:
    """The options of a command as a table in Markdown.

    Raises:
        ValueError: If there is no such command.
    """
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for option in _command(words).params:
        if isinstance(option, click.Option) and option.name != "debug":
            names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
            words = option.help or ""
            told = words if words.endswith("...") else words.removesuffix(".")
            cells = (names, _default(option), told)
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _command(words: str) -> click.Command:
    context = click.Context(app, info_name="asvit")
    found: click.Command | None = app
    for word in words.split():
        found = found.get_command(context, word) if isinstance(found, click.Group) else None
    if found is None:
        raise ValueError(f"no command asvit {words}")
    return found


def _default(option: click.Option) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    return str(option.default) if option.show_default else ""


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
