"""Reference tables of others: what no file is. Damage: tests/contracts."""

from pathlib import Path

import pytest

from asvit.reference.loading import load_reference, read_reference
from asvit.reference.schema import read_sheet
from asvit.reference.table import ReferenceTable
from tests.contracts.readers import OWN
from tests.hostile import refused_or


def read(path: Path, content: str) -> ReferenceTable:
    path.write_text(content)
    return read_reference(path, name="mine", shipped=False, check=True)


@pytest.mark.parametrize("size", ["9" * 400, "1e308", "1" + "0" * 19])
def test_images_of_absurd_sides_are_refused(tmp_path: Path, size: str) -> None:
    text = OWN.replace(",32,", f",{size},").replace("# image_size: 32\n", "")
    assert refused_or(lambda: read(tmp_path / "a.csv", text)) is None


def test_names_of_tables_can_be_shown(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\n<b>.csv"
    path.write_text(OWN)
    assert load_reference(path).name.isprintable()


def test_a_huge_table_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(2**33)  # takes no room on the disk
    assert refused_or(lambda: read_sheet(path)) is None


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/proc/self/mem"])
def test_what_is_no_file_is_no_table(name: str) -> None:
    if not Path(name).exists():
        pytest.skip(f"needs {name}")
    assert refused_or(lambda: load_reference(name)) is None
