"""Two processes train as one does with the same global batch."""

import json
import math
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import asvit

ARCHITECTURE = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
ASKED = [
    "train", ARCHITECTURE, "--recipe", "small", "--data", "fractal", "--classes", "3",
    "--train-images", "48", "--validation-images", "15", "--image-size", "32", "--epochs", "3",
    "--batch-size", "8", "--drop-path", "0", "--mixup", "0.5", "--cutmix", "0.5",
    "--erasing", "0.3", "--ema", "0.9", "--device", "cpu", "--workers", "0", "--quiet",
]  # fmt: skip
ALONE = [sys.executable, "-m"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2",
    "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0",
]  # fmt: skip


def launched(launcher: list[str], folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = launcher if launcher is ALONE else [*launcher, "-m"]
    root = str(Path(asvit.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*words, "asvit", *ASKED, *more, "--out", str(folder)],
        env=environment,
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def trained(launcher: list[str], folder: Path, *more: str) -> dict[str, Any]:
    ended = launched(launcher, folder, *more)
    assert ended.returncode == 0, ended.stderr[-3000:]
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training in one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert trained(ALONE, folder)["processes"] == 1
    return folder


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path: Path, alone: Path) -> None:
    one = json.loads((alone / "result.json").read_text())
    two = trained(ACCELERATE, tmp_path / "run")
    assert two["processes"] == 2
    for ours, theirs in zip(two["history"], one["history"], strict=True):
        for name in ("train_loss", "loss", "average_loss"):
            assert math.isclose(ours[name], theirs[name], rel_tol=1e-4), name
        assert ours["learning_rate"] == theirs["learning_rate"]
        assert ours["top1"] == pytest.approx(theirs["top1"], abs=100 / 15 + 1e-6)
    weights = [load_file(f / "model.safetensors") for f in (tmp_path / "run", alone)]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], atol=2e-3, rtol=1e-2)


@pytest.mark.slow
def test_two_processes_accumulate_and_go_on_where_one_has_stopped(
    tmp_path: Path, alone: Path
) -> None:
    folder = tmp_path / "run"
    two = trained(TORCHRUN, folder, "--accumulate", "2")
    one = json.loads((alone / "result.json").read_text())
    for ours, theirs in zip(two["history"], one["history"], strict=True):
        assert math.isclose(ours["train_loss"], theirs["train_loss"], rel_tol=1e-4)
    again = launched(TORCHRUN, folder, "--accumulate", "2")
    assert again.returncode == 0
    assert again.stdout.count("folder: ") == 1  # one process talks


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_one(tmp_path: Path, victim: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    root = str(Path(asvit.__file__).parents[1])
    environment = {
        **os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    both = [
        subprocess.Popen(
            [*ALONE, "asvit", *ASKED, "--epochs", "1000", "--out", str(tmp_path / "run")],
            env={**environment, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "run" / "checkpoint.safetensors").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        both[victim].kill()
        _, told = both[1 - victim].communicate(timeout=120)
    finally:
        for one in both:
            one.kill()
            one.communicate()
    assert both[1 - victim].returncode == 3, told
    assert "another of the 2 processes of this training ended" in told.splitlines()[-1]


@pytest.mark.slow
def test_a_batch_that_two_processes_cannot_share_is_refused(tmp_path: Path) -> None:
    ended = launched(TORCHRUN, tmp_path / "run", "--batch-size", "7")
    assert ended.returncode != 0
    assert "a batch of 7 images does not go into 2 processes" in ended.stderr
    assert "asvit/runs" not in ended.stderr  # no traceback of ours, whatever the launcher says
