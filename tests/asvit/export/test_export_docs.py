"""The page about exporting names every format; its examples run in tests/docs."""

import re
from pathlib import Path

import pytest

from asvit.export import FORMATS

PAGE = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_in_the_table(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|", PAGE, re.MULTILINE)
