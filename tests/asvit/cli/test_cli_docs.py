"""Help and documentation say what the program does."""

import re
from pathlib import Path

import click
import pytest

from asvit.cli.app import COMMANDS, app
from asvit.cli.manual import PAGES, RUN_FILES
from asvit.core.results import RUNS
from asvit.core.run_files import figure_files

TEXT = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")


def command(name: str) -> click.Command:
    return app.get_command(click.Context(app), name)


def section(name: str) -> str:
    """What the page says of a command."""
    (found,) = re.findall(rf"^## asvit {name}$(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("name", list(RUNS))
def test_help_names_the_files_of_every_run(name: str) -> None:
    files = RUNS[name].files
    tables = {file for file in files.outputs if file.endswith(".csv") and "/" not in file}
    tables -= {*figure_files(files.figures)}
    assert {*dict(RUN_FILES), *tables} <= {file for file, _ in PAGES[name].files}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "completion"])
def test_every_option_is_documented_and_every_documented_one_exists(name: str) -> None:
    documented = set(re.findall(r"--[a-z][a-z0-9-]*", section(name)))
    found = command(name)
    commands = [found, *(found.commands.values() if isinstance(found, click.Group) else ())]
    params = [param for one in commands for param in one.params]
    options = {option for param in params for option in (*param.opts, *param.secondary_opts)}
    assert {o for o in options if o.startswith("--")} - {"--debug"} == documented
