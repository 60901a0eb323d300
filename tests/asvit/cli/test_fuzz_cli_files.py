"""Commands that are given files of strangers end in one line and exit code 3, or 2 for usage.

Every reader with every damage: tests/contracts.
"""

import json
import os
import pickle
from pathlib import Path

import pytest
from click.testing import CliRunner

from asvit import BuildResult, DesignResult, ScaleResult, SupernetResult, TrainResult
from asvit.cli.app import app
from asvit.transfer.settings import DetectionResult, SegmentationResult
from tests.asvit.runs.stored_results import RIGHT, content_of
from tests.hostile import sealed_result

NASTY = "x\x1b]0;owned\x07\n\u202e<b>"
DEEP = b"[" * 10**5
SEED = "4,2,2|2,1,2|2,1,2|2,1,2|16"


def refused(*words: str | Path) -> None:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code in (2, 3), done.stderr
    assert done.stdout == ""
    last = done.stderr.rstrip("\n").split("\n")
    assert last[-1].startswith("asvit: ")
    assert len(last) <= 2  # a line may say beforehand what is measured
    assert all(line.isprintable() and len(line) < 5_000 for line in last)


class Payload:
    """Makes a folder when a pickle of it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("run-by-a-pickle",)


WEIGHTS = {
    "pickle": pickle.dumps(Payload()),
    "nasty": json.dumps({NASTY: NASTY}).encode(),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("data", WEIGHTS.values(), ids=WEIGHTS)
def test_weights(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"{NASTY.replace('/', '')}{suffix}"
    path.write_bytes(data)
    refused("export", path, "--to", "safetensors")
    refused("export", SEED, "--weights", path, "--to", "safetensors", "--out", tmp_path / "o")
    assert not Path("run-by-a-pickle").exists()


TABLES = {
    "controls": b"architecture,acc\n\x1b[2J,1\n",
    "no columns": NASTY.replace("\x1b", "").replace("\x07", "").encode() + b"\n1\n",
}


@pytest.mark.parametrize("data", TABLES.values(), ids=TABLES)
def test_reference_tables(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / f"{NASTY.replace('/', '')}.csv"
    path.write_bytes(data)
    refused("correlate", "--reference", path, "--proxy", "params")


RESULTS = {
    "deep": DEEP,
    "kind": json.dumps({"kind": [NASTY]}).encode(),
    "search": sealed_result({"kind": "search", "schema_version": 1, "steps": NASTY}),
    "architecture": sealed_result({"kind": "search", "seed_architecture": NASTY * 99}),
    "steps": sealed_result({"kind": "scale", "architecture": SEED, "steps": NASTY}),
}


@pytest.mark.parametrize("data", RESULTS.values(), ids=RESULTS)
def test_results_of_other_runs(tmp_path: Path, data: bytes) -> None:
    folder = Path("runs") / "stranger"
    folder.mkdir(parents=True)
    (folder / "result.json").write_bytes(data)
    refused("train", folder, "--data", "digits", "--epochs", "1")
    refused("scale", "--budget", "1M")  # of the newest search
    refused("report", folder)
    refused("export", folder, "--to", "safetensors")


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
def test_results_of_every_kind_without_the_rest(tmp_path: Path, kind: type) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "result.json").write_bytes(sealed_result(content_of(kind)))
    needs_nothing_else = (
        *(DesignResult, ScaleResult, TrainResult, SupernetResult, BuildResult),
        *(DetectionResult, SegmentationResult),
    )
    if kind not in needs_nothing_else:
        refused("report", folder)
    refused("supernet", "evolve", folder)


@pytest.mark.parametrize("name", ["supernet.safetensors", "model.safetensors"])
@pytest.mark.parametrize("data", WEIGHTS.values(), ids=WEIGHTS)
def test_folders_with_one_file(tmp_path: Path, name: str, data: bytes) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).write_bytes(data)
    refused("supernet", "evolve", folder)
    refused("export", folder, "--to", "safetensors")


def test_images(tmp_path: Path) -> None:
    folder = tmp_path / NASTY / "images"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / f"{NASTY}.png").write_bytes(b"no image")
    score = ("score", SEED, "--image-size", "32", "--images", "1", "--proxy", "params")
    for data in (folder, f"torchvision:{NASTY}", f"hf:{NASTY}", NASTY, "hf:../../etc"):
        refused(*score[:-1], "ntk_condition_number", "--data", str(data))


@pytest.mark.parametrize("text", [NASTY, "timm:hf-hub:a/b", "pit:" + "9" * 5000, "|" * 9_999])
def test_architectures(text: str) -> None:
    refused("cost", text)
    refused("score", text, "--proxy", "params")
    refused("train", text, "--data", "digits", "--epochs", "1")
