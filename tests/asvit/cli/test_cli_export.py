"""``asvit export``: one whole export, and how it ends where something is wrong."""

import json
from pathlib import Path

import onnxruntime
import pytest
from PIL import Image

from tests.asvit.cli.commands import run

SHIFT = "shift:1,1,1,1|1|8|1|16"
RANDOM = ["export", SHIFT, "--random", "--image-size", "32", "--classes", "3"]


def test_an_export_tells_data_on_stdout_and_people_on_stderr(tmp_path: Path) -> None:
    result = run(*RANDOM, "--to", "onnx", "--out", "seed.onnx", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    assert set(data) == {
        "schema_version", "format", "out", "card", "network", "classes", "facts", "params",
        "macs", "weights", "trained_size", "batch", "opset", "differences", "tolerance",
        "sha256", "versions", "command", "load", "int8", "script",
    }  # fmt: skip
    assert [one["batch"] for one in data["differences"]] == [1, 3]
    assert all(one["relative"] <= data["tolerance"] for one in data["differences"])
    for line in (
        "building the network",
        "writing onnx",
        "copy:   seed.onnx",
        "card:   seed.onnx.md",
    ):
        assert line in result.stderr
    session = onnxruntime.InferenceSession("seed.onnx")
    assert session.get_inputs()[0].shape == ["batch", 3, 32, 32]
    assert {path.name for path in tmp_path.iterdir()} == {"seed.onnx", "seed.onnx.md"}


@pytest.mark.parametrize("more", [[], ["--with-preprocessing"]])
def test_the_code_that_is_shown_runs_in_a_narrow_window(
    more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    name = "a-name-that-is-long-and-has no-end"  # of words, at which lines are broken
    result = run(*RANDOM, "--to", "onnx", "--out", f"{name}.onnx", *more, "--quiet")
    assert result.exit_code == 0, result.stderr
    assert f"copy:   {name}.onnx (onnx, " in result.stdout
    Image.new("RGB", (40, 30)).save("picture.jpg")
    exec(result.stdout.partition("\n\n")[2], {})
