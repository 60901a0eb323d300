"""Results of any kind: their file, and what is refused in it. tests/contracts has all kinds."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from asvit.core.answers import Answer, write_answers
from asvit.core.results import NO_FOLDER
from tests.asvit.toy_run import IMAGES, ToyResult, ToyRow, ToySettings

SETTINGS = ToySettings("x").to_json()
RIGHT = ToyResult(
    folder=Path("run"),
    settings=ToySettings("x"),
    wall_seconds=1.23456,
    provenance={"images": IMAGES, "device": "cpu", "versions": {}, "command": "asvit toy x"},
    rows=(ToyRow(0, 1.0), ToyRow(1, math.nan)),
)


def test_the_file_has_fields_provenance_and_what_follows_from_them() -> None:
    content = json.loads(json.dumps(RIGHT.to_json(), allow_nan=False))
    assert list(content)[:4] == ["schema_version", "kind", "total", "table"]
    assert content["table"] == [{"step": 0, "value": 1.0}, {"step": 1, "value": None}]
    assert content["total"] is None
    assert content["wall_seconds"] == 1.235
    assert (content["device"], content["command"]) == ("cpu", "asvit toy x")
    assert content["note"] is None
    assert {"folder", "provenance", "rows"}.isdisjoint(content)


def test_it_is_read_back_and_written_the_same(tmp_path: Path) -> None:
    RIGHT.__class__(**{**vars(RIGHT), "folder": tmp_path, "note": "so"}).write()
    found = ToyResult.read(tmp_path / "result.json")
    assert (found.folder, found.note, found.settings) == (tmp_path, "so", RIGHT.settings)
    for path in (str(tmp_path / "result.json"), tmp_path, str(tmp_path)):
        assert repr(ToyResult.read(path)) == repr(found)
    before = (tmp_path / "result.json").read_bytes()
    found.write()
    assert (tmp_path / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "search"}, "kind 'search', schema 1; another version of asvit may have"),
        ({"schema_version": 2}, "kind 'toy', schema 2"),
        ({"settings": {**SETTINGS, "name": 3}}, "settings.name may not be 3"),
        ({"settings": {**SETTINGS, "depth": 1}}, "unknown setting 'depth'; another version of"),
        ({"settings": {"name": "x"}}, "missing setting 'again'; another version of asvit may"),
        ({"table": [{"step": "x", "value": 1}]}, "rows.step may not be 'x'"),
        ({"images": []}, r"images may not be \[\]"),
        ({"device": 5}, "device may not be 5"),
        ({"command": 5}, "command may not be 5"),
        ({"wall_seconds": "long"}, "wall_seconds may not be 'long'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(json.dumps({**RIGHT.to_json(), **change}).encode())
    with pytest.raises(ValueError, match=f"is not the result of a toy .* can read: .*{words}"):
        ToyResult.read(path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ToyResult.read(tmp_path / "result.json")
    for name in ("table", "settings", "command", "kind"):
        content = {key: one for key, one in RIGHT.to_json().items() if key != name}
        (tmp_path / "result.json").write_bytes(json.dumps(content).encode())
        with pytest.raises(ValueError, match=name):
            ToyResult.read(tmp_path / "result.json")


def test_what_is_read_back_is_equal(tmp_path: Path) -> None:
    rows = [ToyRow(0, float("nan")), ToyRow(1, 2.0)]  # no tuple; and no two NaN are equal
    result = ToyResult(
        **{**vars(RIGHT), "folder": tmp_path, "rows": rows, "wall_seconds": 1.23456}
    )
    result.write()
    assert result == ToyResult.read(tmp_path)
    assert result != replace(result, note="so")
    assert result != RIGHT
    assert result != 0


def test_it_is_shown_in_a_line() -> None:
    assert repr(RIGHT) == "ToyResult(folder='run')"
    whole = ToyResult(**{**vars(RIGHT), "rows": (ToyRow(0, 1.23456789),) * 9, "note": "so"})
    assert repr(whole) == "ToyResult(total=11.111, note='so', folder='run')"


def test_tables_of_the_folder_are_data_frames(tmp_path: Path) -> None:
    result = ToyResult(**{**vars(RIGHT), "folder": tmp_path})
    (tmp_path / "toy.csv").write_text(
        "# a comment\nstep,name,value,reason\n0,'=x,nan,\n1,b,2.5,\n"
    )
    frame = result.to_dataframe("toy")
    assert list(frame.columns) == ["step", "name", "value", "reason"]
    assert frame.step.tolist() == [0, 1]
    assert frame.name.tolist() == ["=x", "b"]  # as it was before a spreadsheet might read it
    assert math.isnan(frame.value[0])
    assert frame.value[1] == 2.5
    assert frame.reason.tolist() == ["", ""]
    with pytest.raises(ValueError, match="unknown table 'toyy'; did you mean 'toy'"):
        result.to_dataframe("toyy")
    with pytest.raises(ValueError, match="a toy has no rows of its own; name a table: toy"):
        result.to_dataframe()
    (tmp_path / "toy.csv").unlink()
    with pytest.raises(ValueError, match="has no rows of its own; there is no table in its fol"):
        result.to_dataframe()
    with pytest.raises(ValueError, match="this toy has no folder, and so no tables; give out"):
        ToyResult(**{**vars(RIGHT), "folder": NO_FOLDER}).to_dataframe()


def test_names_of_classes_stay_texts(tmp_path: Path) -> None:
    made = ToyResult(**{**vars(RIGHT), "folder": tmp_path})
    answers = [Answer("000.png", "00", "01", 0.5), Answer("001.png", "01", "nan", 0.5, 0.1, "12")]
    write_answers(tmp_path / "predictions.csv", answers)
    frame = made.to_dataframe("predictions")
    assert frame["class"].tolist() == ["00", "01"]
    assert frame.predicted.tolist() == ["01", "nan"]
    assert frame.sha256.tolist() == ["", "12"]
    assert math.isnan(frame.loss[0])
    write_answers(tmp_path / "predictions.csv", [Answer("1", "007", "1e5", 0.5)])
    cells = made.to_dataframe("predictions").loc[0]
    assert (cells["image"], cells["class"], cells["predicted"]) == ("1", "007", "1e5")
