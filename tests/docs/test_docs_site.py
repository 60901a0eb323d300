"""What conf.py makes of the pages, beside what Sphinx does itself."""

import runpy
from configparser import ConfigParser

import pytest
from doc_examples import ROOT
from docutils import nodes

CONF = runpy.run_path(str(ROOT / "docs" / "conf.py"))


def test_code_has_buttons_to_copy_it_by() -> None:
    assert "sphinx_copybutton" in CONF["extensions"]
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert "sphinx-copybutton" in config["options.extras_require"]["docs"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("expansion L^E and L^G.", "expansion L<sup>E</sup> and L<sup>G</sup>."),
        ("κ_Θ = λmax/λmin", "κ<sub>Θ</sub> = λmax/λmin"),
        ("κ = (v·v)^(-3/2) √x, at each", "κ = (v·v)<sup>-3/2</sup> √x, at each"),
        ("the cosine between A_i[q, :] and", "the cosine between A<sub>i</sub>[q, :] and"),
        ("seed_architecture, N_DIV, a_", "seed_architecture, N_DIV, a_"),
    ],
)
def test_formulas_are_raised_and_lowered(text: str, shown: str) -> None:
    page = nodes.section("", nodes.paragraph("", text), nodes.literal("", text))
    CONF["set_formulas"](None, page)
    paragraph, literal = page.children
    assert literal.astext() == text
    tags = {nodes.superscript: "<sup>{}</sup>", nodes.subscript: "<sub>{}</sub>"}
    found = (tags.get(type(one), "{}").format(one.astext()) for one in paragraph.children)
    assert "".join(found) == shown
