"""What a run folder tells of the machine that it was made on."""

import socket
from pathlib import Path
from typing import Any

import pytest

from asvit.core.results import RUNS
from tests.asvit.runs.fakes import write_pictures

TINY: dict[str, dict[str, Any]] = {
    "train": {
        "architecture": "4,2,2|4,1,2|4,1,2|4,1,2|16,8", "epochs": 1, "batch_size": 4,
        "image_size": 32, "device": "cpu",
    },
    "search": {
        "preset": "quick", "space": "asvit-tiny", "steps": 2, "repeats": 1, "recheck": 1,
        "image_size": 32, "images": 2, "points": 3, "device": "cpu",
    },
}  # fmt: skip


@pytest.mark.parametrize("command", TINY)
def test_no_absolute_path_and_no_host_is_in_a_run_folder(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "my-own-machine")
    pictures = write_pictures(Path("pictures"))
    (pictures / "class1/019.jpg").unlink()  # which cannot be read
    RUNS[command].make(data="pictures", out="run", **TINY[command]).run()
    files = [path for path in Path("run").rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        for told in (str(tmp_path), "my-own-machine"):
            assert told.encode() not in path.read_bytes(), path
