"""Texts that people type or files hold: taken as they are meant, or refused in one line."""

import click
from hypothesis import given

from asvit.cli.options import names
from asvit.core.shared_settings import parse_radius
from scaling.budget import Budget, parse_budgets
from tests.hostile import FEW, FIXED, LONGEST, refused_or, texts


@FIXED
@given(texts("88M", "22G", "88e6", "0.5G", "900K"))
def test_budgets(text: str) -> None:
    found = refused_or(lambda: Budget.parse(text))
    if found is not None:
        assert Budget.parse(str(found)) == found
    several = refused_or(lambda: parse_budgets(text))
    if several is not None:
        assert parse_budgets(map(str, several)) == several


@FEW
@given(texts("a,b", "sqrt_n", "1.5"))
def test_values_of_options(text: str) -> None:
    command = click.Command("c", params=[click.Option(["--n"])])
    reads = (
        lambda: names(click.Context(command), command.params[0], [text]),
        lambda: parse_radius(text),
    )
    for read in reads:
        message = "nothing"
        try:
            read()
        except (click.BadParameter, ValueError) as error:
            message = str(error)
        assert message.isprintable()
        assert len(message) <= LONGEST
