"""Writes the option tables of docs/commands.md from the commands themselves.

Run from a checkout: ``python -m experiments.command_tables``. A table stands below a line
``<!-- options of search -->``, whose words are those of the command. An option is described once:
below ``<!-- options of several commands -->``, or for the first of two commands that share it.
"""

from collections import Counter
from functools import cache
from pathlib import Path

import click

from asvit.cli.app import app
from experiments.tables import fill_tables

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
SEVERAL = "several commands"
COMMANDS = (
    *("design", "search", "scale", "train", "correlate"),
    *("transfer detect", "transfer segment", "supernet train", "supernet evolve"),
    *("export", "predict", "test", "compare", "cost", "score"),
)
LEAST = 3  # commands that share an option

Row = tuple[str, str, str]  # names, default, meaning


def rewritten(page: str) -> str:
    """``page`` with every table as the commands have it now."""
    return fill_tables(page, "options of", table)


def table(words: str) -> str:
    """The options of a command, or those of several, as a table in Markdown.

    Raises:
        ValueError: If there is no such command.
    """
    rows = shared()
    if words != SEVERAL:
        own = _rows(words)
        earlier = reversed(COMMANDS[: COMMANDS.index(words)])
        places = {row: f"as in `asvit {name}`" for name in earlier for row in _rows(name)}
        places |= dict.fromkeys(rows, "[as elsewhere](#options-of-several-commands)")
        rows = [row for row in own if row not in places]
        for place in dict.fromkeys(places.values()):
            if names := [row[0] for row in own if places.get(row) == place]:
                rows.append((", ".join(names), "", place))
    lines = ["| option | default | meaning |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


@cache
def shared() -> list[Row]:
    """The options that are the same in several commands; of those of one name, the most common."""
    count = Counter(row for words in COMMANDS for row in _rows(words))
    most = {row[0]: row for row, _ in reversed(count.most_common())}
    return [row for row in count if count[row] >= LEAST and row == most[row[0]]]


def _rows(words: str) -> list[Row]:
    rows = []
    for option in _command(words).params:
        if isinstance(option, click.Option) and option.name != "debug":
            names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
            text = option.help or ""
            meaning = text if text.endswith("...") else text.removesuffix(".")
            rows.append((names, _escaped(_default(option)), _escaped(meaning)))
    return rows


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _command(words: str) -> click.Command:
    context = click.Context(app, info_name="asvit")
    command: click.Command | None = app
    for word in words.split():
        command = command.get_command(context, word) if isinstance(command, click.Group) else None
    if command is None:
        raise ValueError(f"no command asvit {words}")
    return command


def _default(option: click.Option) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    return str(option.default) if option.show_default else ""


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
