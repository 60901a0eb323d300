"""Texts that people type or files hold: taken as they are meant, or refused in one line."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.architectures.genotype import Genotype
from asvit.architectures.psvit_path import PSViT1dPath, PSViT2dPath
from asvit.architectures.shiftvit import ShiftArchitecture
from asvit.cli.options import names
from asvit.core.measuring_settings import parse_radius
from asvit.spaces.architectures import canonical, find, parse
from asvit.training.token_plan import TokenPlan
from scaling.budget import Budget, parse_budgets
from tests.hostile import FEW, FIXED, LONGEST, refused_or, texts

RIGHT = {
    Genotype: ("8,2,3|4,1,2|4,1,4|4,1,6|32", "4,2,2,3|2,1,2,1|2,1,2,256|2,1,6,1|16,1024"),
    PSViT1dPath: ("psvit1d:bbs---|bs----|bb----", "psvit1d:bbs---|bs----|bb----|3,4,9|192"),
    PSViT2dPath: ("psvit2d:bbs---|bs----|bb----", "psvit2d:bbs---|bs----|bb----|3,4,9|96"),
    ShiftArchitecture: ("shift:2,2,6,2|4|12|1|96", "shift:1,1,1,1|2.5|4|0|16"),
}
FAMILIES = ("pit:32,4|2,6,4|2,4,8", "autoformer:192|3,4|3.5,4")
TIMM_MODELS = ("timm:resnet18", "timm:vit_tiny_patch16_224.augreg_in21k", "timm:hf-hub:a/b")
EVERY = (*(text for some in RIGHT.values() for text in some), *FAMILIES, *TIMM_MODELS)


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
@FIXED
@given(data=st.data())
def test_architectures(kind: type, data: st.DataObject) -> None:
    text = data.draw(texts(*RIGHT[kind]))
    found = refused_or(lambda: kind.parse(text))
    if found is not None:
        assert kind.parse(str(found)) == found


@FIXED
@given(texts(*FAMILIES))
def test_families(text: str) -> None:
    found = refused_or(lambda: parse(text))
    if found is not None:
        assert parse(str(found)) == found


@pytest.mark.parametrize("many", ["1," * 99_999 + "1", "1," * 300 + "1"])
@pytest.mark.parametrize("form", ["pit:32,4|{}|2,4,8", "pit:32,4|2,4,8|{}", "autoformer:64|{}|2"])
def test_families_with_too_many_numbers(form: str, many: str) -> None:
    assert refused_or(lambda: parse(form.format(many))) is None


@FIXED
@given(texts(*EVERY))
def test_texts_of_any_space(text: str) -> None:
    found = refused_or(lambda: canonical(text))
    if found is not None:
        assert found.isprintable()
        assert canonical(found) == found
    refused_or(lambda: find(text))


@FIXED
@given(texts("88M", "22G", "88e6", "0.5G", "900K"))
def test_budgets(text: str) -> None:
    found = refused_or(lambda: Budget.parse(text))
    if found is not None:
        assert Budget.parse(str(found)) == found
    several = refused_or(lambda: parse_budgets(text))
    if several is not None:
        assert parse_budgets(map(str, several)) == several


@FIXED
@given(texts("120/90/90", "0.4/0.3/0.3", "auto", "off"), st.integers(-1, 400))
def test_token_plans(text: str, epochs: int) -> None:
    found = refused_or(lambda: TokenPlan.parse(text, epochs))
    if found is not None:
        assert TokenPlan.parse(str(found), epochs) == found


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
