"""The pictures of the blocks: as the pages show them, and readable in both themes."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from run_script import Script

from experiments import draw_blocks
from experiments.draw_blocks import IMAGES, PICTURES

TEXT = "{http://www.w3.org/2000/svg}text"


def test_the_pages_show_what_is_drawn(script: Script) -> None:
    script(draw_blocks.main, "--out .")
    for name in PICTURES:
        drawn = Path(name).read_text(encoding="utf-8")
        assert drawn == (IMAGES / name).read_text(encoding="utf-8")
        page = IMAGES.parent / f"{name.removesuffix('-block.svg')}.md"
        assert f"(images/{name})" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*-block.svg")), ids=lambda path: path.stem)
def test_every_colour_has_a_light_and_a_dark_one(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.get("aria-label")
    light, dark = text.partition("</style>")[0].split("@media (prefers-color-scheme: dark)")
    for name in (".box", ".made", ".plain", ".page", ".way", ".tip", ".small", "text"):
        assert all(f"{name} {{" in theme for theme in (light, dark))
    assert "#" not in text.partition("</style>")[2]  # no colour beside the two sets


def test_the_shift_is_that_of_the_hand_check() -> None:
    root = ElementTree.fromstring(PICTURES["shiftvit-block.svg"]())
    numbers = [node.text for node in root.iter(TEXT) if node.get("class") == "number"]
    assert numbers[:9] == list("123456789")
    assert numbers[9:18] == list("230560890")  # left
    assert numbers[18:27] == list("012045078")  # right
    assert numbers[45:] == list("123456789")  # stays
