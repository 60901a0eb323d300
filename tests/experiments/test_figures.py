"""Notebooks are those of the pages."""

import json
import re
from pathlib import Path

import pytest

from experiments.notebook_pages import NOTEBOOKS, page, read, run

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
