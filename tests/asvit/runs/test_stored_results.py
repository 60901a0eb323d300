"""Results of every kind as they are stored: shown, and equal when they are read again."""

import dataclasses
from pathlib import Path

import pytest

import asvit
from tests.asvit.runs.stored_results import RIGHT, Kind, write_beside

each = pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)


@each
def test_it_is_shown_in_a_line_and_importable_from_asvit(kind: Kind) -> None:
    line = repr(RIGHT[kind][0])
    assert line.startswith(f"{kind.__name__}(")
    assert "'run'" in line
    assert len(line) < 500  # not a page of nested dataclasses
    assert getattr(asvit, kind.__name__) is kind


@each
def test_what_is_read_is_what_was_written(kind: Kind, tmp_path: Path) -> None:
    right = dataclasses.replace(RIGHT[kind][0], folder=tmp_path)
    right.write()
    write_beside(tmp_path)
    assert kind.read(tmp_path / "result.json").to_json() == right.to_json()
