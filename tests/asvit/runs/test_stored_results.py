"""Results of every kind as they are stored: shown, and equal when they are read again."""

import dataclasses
from pathlib import Path

import pytest

import asvit
from asvit.designs.result import DesignResult
from asvit.growth.result import ScaleResult
from asvit.search.result import SearchResult
from asvit.search.supernet_result import EvolutionResult
from asvit.training.result import TrainResult
from asvit.training.supernets.settings import SupernetResult
from tests.asvit.runs.stored_results import RIGHT, Kind, write_beside

each = pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)


@each
def test_it_is_shown_in_a_line_and_importable_from_asvit(kind: Kind) -> None:
    line = repr(RIGHT[kind][0])
    assert line.startswith(f"{kind.__name__}(")
    assert "'run'" in line
    assert len(line) < 400  # not a page of nested dataclasses
    assert getattr(asvit, kind.__name__) is kind


@each
def test_what_is_read_is_what_was_written(kind: Kind, tmp_path: Path) -> None:
    right = dataclasses.replace(RIGHT[kind][0], folder=tmp_path)
    right.write()
    write_beside(tmp_path)
    right = dataclasses.replace(right, next_command=kind.next_in(tmp_path, right.next_command))
    assert kind.read(tmp_path / "result.json").to_json() == right.to_json()


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (TrainResult, "asvit export --weights a --to onnx", "asvit export --weights b --to onnx"),
        (SupernetResult, "asvit supernet evolve a", "asvit supernet evolve b"),
        (EvolutionResult, "asvit train a --data a", "asvit train b --data a"),
        (ScaleResult, "asvit train a --image-size 32", "asvit train b --image-size 32"),
        (ScaleResult, "", ""),
        (DesignResult, "asvit predict PICTURE --weights a", "asvit predict PICTURE --weights b"),
        (SearchResult, "asvit train 'a a' --seed 1", "asvit train b --seed 1"),
        (SearchResult, "asvit scale --arch  a", "asvit scale --arch  a"),
    ],
)
def test_what_to_type_next_is_of_the_folder_as_it_is_called_now(
    kind: Kind, before: str, after: str
) -> None:
    Path("a").mkdir()
    dataclasses.replace(RIGHT[kind][0], folder=Path("a"), next_command=before).write()
    write_beside(Path("a"))
    Path("a").rename("b")
    assert kind.read("b").next_command == after
