"""The command of a kind of run has an option for each of its settings, with the same default."""

import dataclasses
from typing import Any

import click
import pytest

from asvit.cli.run_command import run_command
from asvit.runs.run import RUNS
from asvit.settings import fields_of, option_of


@pytest.mark.parametrize("name", RUNS)
def test_the_help_states_the_real_defaults(name: str) -> None:
    kind = RUNS[name]
    parameters = {p.name: p for p in run_command(kind).params}
    for field in (*fields_of(kind.settings_type).values(), *fields_of(kind).values()):
        option = option_of(field)
        if option is None:
            continue
        parameter: Any = parameters[field.name]
        default = field.default
        if isinstance(parameter, click.Argument) or default in (None, True, False):
            continue
        if not option.shown and default is not dataclasses.MISSING:
            words = default if isinstance(default, tuple) else (default,)
            shown = parameter.show_default.split(",")
            assert [type(one)(text) for one, text in zip(words, shown, strict=True)] == list(words)
        else:
            assert parameter.show_default == (option.shown or False)
