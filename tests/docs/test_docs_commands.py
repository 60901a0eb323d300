"""What the help of a command and the tables of its options say is true and fits a terminal."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from doc_examples import arguments, check_options

from asvit.cli.app import app
from asvit.cli.manual import FIRST_STEPS, PAGES
from asvit.cli.options import Setting
from experiments.command_tables import PAGE, SEVERAL, rewritten


def test_the_page_is_as_it_would_be_written_now() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run python -m experiments.command_tables"


def test_every_kind_of_run_has_its_table() -> None:
    found = set(re.findall(r"<!-- options of ([a-z ]+) -->", PAGE.read_text(encoding="utf-8")))
    runs = {"search", "scale", "train", "correlate"}
    assert found >= {*runs, "supernet train", "supernet evolve", "export"}
    assert found <= {*COMMANDS, SEVERAL}


def leaves(context: click.Context) -> Iterator[click.Context]:
    """The contexts of all commands that are no groups."""
    group = context.command
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        below = click.Context(found, context, info_name=name, terminal_width=80)
        if isinstance(found, click.Group):
            yield from leaves(below)
        else:
            yield below


COMMANDS = {
    context.command_path.partition(" ")[2]: context
    for context in leaves(click.Context(app, info_name="asvit", **app.context_settings))
}


def test_every_command_has_a_page() -> None:
    assert set(PAGES) == set(COMMANDS)


@pytest.mark.parametrize("name", [name for name in PAGES if name != "completion"])
def test_every_command_has_examples_of_it(name: str) -> None:
    assert PAGES[name].examples
    for line, words in PAGES[name].examples:
        assert arguments(shlex.split(line))[: len(name.split())] == name.split()
        assert words.endswith(".")


def test_first_steps_are_read_by_the_program() -> None:
    for line, _ in FIRST_STEPS:
        check_options(shlex.split(line)[1:])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal_and_says_defaults_alike(name: str) -> None:
    text = COMMANDS[name].get_help()
    assert max(map(len, text.splitlines())) <= 80
    assert "[default: (" not in text
    for parameter in COMMANDS[name].command.params:
        if isinstance(parameter, click.Option):
            assert (parameter.help or "").endswith("."), parameter.name
            assert isinstance(parameter.show_default, bool | None) or isinstance(
                parameter, Setting
            )
