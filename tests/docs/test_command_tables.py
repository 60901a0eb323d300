"""The option tables of docs/commands.md are those of the commands."""

import re

import pytest

from asvit.cli.app import COMMANDS
from experiments.command_tables import PAGE, rewritten, table


def test_the_page_is_as_it_would_be_written_now() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run python -m experiments.command_tables"


def test_every_kind_of_run_has_its_table() -> None:
    found = set(re.findall(r"<!-- options of ([a-z ]+) -->", PAGE.read_text(encoding="utf-8")))
    runs = {"search", "scale", "train", "correlate", "reference build"}
    assert found >= {*runs, "supernet train", "supernet evolve", "export"}
    assert {name.split()[0] for name in found} <= set(COMMANDS)


def test_a_table_is_replaced_and_nothing_else() -> None:
    page = "before\n\n<!-- options of cost -->\n| a |\n|---|\n| old |\n\nafter\n"
    made = rewritten(page)
    assert made == f"before\n\n<!-- options of cost -->\n{table('cost')}\nafter\n"
    assert "`--json`" in made
    with pytest.raises(ValueError, match="no command asvit supernet fly"):
        table("supernet fly")
