"""Figures and notebooks are those of the pages."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from run_script import Script

from experiments import draw_blocks
from experiments.draw_blocks import IMAGES, PICTURES
from experiments.notebook_pages import NOTEBOOKS, page, read, run

TEXT = "{http://www.w3.org/2000/svg}text"


def test_the_pages_show_what_is_drawn(script: Script) -> None:
    script(draw_blocks.main, "--out .")
    for name in PICTURES:
        drawn = Path(name).read_text(encoding="utf-8")
        assert drawn == (IMAGES / name).read_text(encoding="utf-8")
        page = IMAGES.parent / f"{name.removesuffix('-block.svg')}.md"
        assert f"(images/{name})" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*-block.svg")), ids=lambda path: path.stem)
def test_every_colour_is_in_the_styles(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.get("aria-label")
    styles, _, rest = text.partition("</style>")
    for name in (".box", ".made", ".plain", ".page", ".way", ".tip", ".small", "text"):
        assert f"{name} {{" in styles
    assert "#" not in rest


def test_the_shift_is_that_of_the_hand_check() -> None:
    root = ElementTree.fromstring(PICTURES["shiftvit-block.svg"]())
    numbers = [node.text for node in root.iter(TEXT) if node.get("class") == "number"]
    assert numbers[:9] == list("123456789")
    assert numbers[9:18] == list("230560890")  # left
    assert numbers[18:27] == list("012045078")  # right
    assert numbers[45:] == list("123456789")  # stays


PAGES = NOTEBOOKS.parents[1] / "docs" / "notebooks"
TINY = {"image_size": 32, "repeats": 1, "images": 2, "points": 3, "data": "gaussian"}
PARAMETERS = {
    "search": {"space": "asvit-tiny", "steps": 4, "settings": TINY},
    "scaling": {
        "architecture": "4,8,2|2,4,2|2,2,2|2,1,2|16",
        "budget": "1.3M,1.6M",
        "settings": TINY,
    },
}


@pytest.mark.filterwarnings("ignore::UserWarning:matplotlib")
@pytest.mark.parametrize("name", [pytest.param("search", marks=pytest.mark.nightly), "scaling"])
def test_a_notebook_runs_and_makes_a_page(tmp_path: Path, name: str) -> None:
    text = page(name, run(name, PARAMETERS[name]), tmp_path)
    images = re.findall(r"\(images/([^)]+)\)", text)
    assert len(images) >= 4
    for image in images:
        assert (tmp_path / "images" / image).read_text().rstrip().endswith("</svg>")
    assert "Traceback" not in text
    assert "```python\n" + read(name)[1].source in text


@pytest.mark.parametrize("name", PARAMETERS)
def test_outputs_are_on_the_page_in_docs_alone(name: str) -> None:
    content = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    for cell in content["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert [cell.source for cell in read(name) if cell.source not in text] == []
    for image in re.findall(r"\(images/([^)]+)\)", text):
        assert (PAGES / "images" / image).exists()
