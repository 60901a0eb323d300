"""``asvit export``: one whole export, and how it ends where something is wrong."""

import json
import os
import sys
from pathlib import Path

import onnxruntime
import pytest

from asvit.networks import Network, WeightsFile
from tests.asvit.cli.commands import check_refused, run

SHIFT = "shift:1,1,1,1|1|8|1|16"
RANDOM = ["export", SHIFT, "--random", "--image-size", "32", "--classes", "3"]


def test_an_export_tells_data_on_stdout_and_people_on_stderr(tmp_path: Path) -> None:
    result = run(*RANDOM, "--to", "onnx", "--out", "seed.onnx", "--batch", "2", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    assert set(data) == {
        "schema_version", "format", "out", "card", "network", "classes", "facts", "params",
        "macs", "weights", "trained_size", "batch", "opset", "differences", "tolerance",
        "versions", "command", "load",
    }  # fmt: skip
    assert [one["batch"] for one in data["differences"]] == [2, 2]
    assert all(one["relative"] <= data["tolerance"] for one in data["differences"])
    for line in ("building the network", "writing onnx", "copy:   seed.onnx", "card:   seed.md"):
        assert line in result.stderr
    session = onnxruntime.InferenceSession("seed.onnx")
    assert session.get_inputs()[0].shape == [2, 3, 32, 32]
    assert {path.name for path in tmp_path.iterdir()} == {"seed.onnx", "seed.md"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*RANDOM, "--to", "onx", "--out", "a.onnx"], "unknown format 'onx'; did you mean 'onnx'"),
        ([*RANDOM, "--to", "onnx"], "needs a name for its copy; give --out"),
        ([*RANDOM, "--to", "timm", "--out", "a", "--opset", "18"], "opset=18 is for onnx"),
        ([*RANDOM, "--out", "a.onnx"], "Missing option '--to'"),
        (["export", SHIFT, "--to", "pt2"], f"no weights of {SHIFT} are named; give --weights"),
        (["export", "--to", "pt2"], "nothing to export"),
        (["export", "shift:1,1", "--random", "--to", "pt2", "--out", "a.pt2"], "shift:1,1"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], message: str) -> None:
    check_refused(run(*arguments), 2, message)


def test_expected_failures_end_in_3_in_one_line(tmp_path: Path) -> None:
    network = Network(SHIFT, 32, 3)
    WeightsFile(network, network.build().state_dict()).write(tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    (tmp_path / "there.pt2").write_text("")
    for arguments, message in (
        (["--weights", "none.safetensors"], "no file of weights 'none.safetensors'"),
        (["--weights", "cut.safetensors"], "is damaged, or no safetensors file"),
        (["--weights", "w.safetensors", "--out", "no/a.pt2"], "no folder 'no' for 'a.pt2'"),
        (["--weights", "w.safetensors", "--out", "a.onnx"], "files for pt2 end in .pt2"),
        (["--weights", "w.safetensors", "--out", "there.pt2"], "exists; name another one"),
        (["--weights", "w.safetensors", "8,2,3|4,1,2|4,1,4|4,1,6|32"], "has architecture"),
    ):
        result = run("export", "--to", "pt2", *arguments)
        assert result.exit_code == 3, result.stderr
        assert message in result.stderr
        assert len([line for line in result.stderr.splitlines() if "asvit:" in line]) == 1
    assert not list(tmp_path.glob("*part*"))


def test_a_folder_that_may_not_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # whoever runs the tests, root as well
    for form, out in (("pt2", "a.pt2"), ("timm", "a")):
        result = run(*RANDOM, "--to", form, "--out", out)
        assert result.exit_code == 3
        assert "may not be written to" in result.stderr
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run(*RANDOM, "--to", "onnx", "--out", "a.onnx")
    assert result.exit_code == 3
    assert "the format onnx needs onnx: pip install 'asvit[export]'" in result.stderr
