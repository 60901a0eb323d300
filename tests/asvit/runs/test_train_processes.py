"""Two processes train as one does with the same global batch."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import asvit
from asvit.core.results import stored_content
from asvit.core.tensor_files import read_header
from asvit.training.checkpoint import Checkpoint
from tests.campaigns import forked
from tests.campaigns.forked import ended, pair, pair_environments

ARCHITECTURE = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
ASKED = [
    "train", ARCHITECTURE, "--recipe", "small", "--data", "fractal", "--classes", "3",
    "--train-images", "48", "--validation-images", "15", "--image-size", "32", "--epochs", "3",
    "--batch-size", "8", "--drop-path", "0", "--mixup", "0.5", "--cutmix", "0.5",
    "--erasing", "0.3", "--device", "cpu", "--workers", "0", "--quiet",
]  # fmt: skip
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2",
    "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0",
]  # fmt: skip


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = stored_content(folder / "result.json")
    return content


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training in one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert forked.run(forked.command, [*ASKED, "--out", str(folder)], folder.parent) == 0
    assert result(folder)["processes"] == 1
    return folder


def trained(folder: Path, *more: str) -> dict[str, Any]:
    """What two processes come to."""
    with pair([*ASKED, *more], folder) as both:
        found = ended(both, folder)
    assert [code for code, _ in found] == [0, 0], found
    return result(folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same training in two processes."""
    folder = tmp_path_factory.mktemp("shared") / "run"
    trained(folder)
    return folder


def check_losses(two: dict[str, Any], one: dict[str, Any]) -> None:
    assert two["processes"] == 2
    for ours, theirs in zip(two["history"], one["history"], strict=True):
        for name in ("train_loss", "loss"):
            assert math.isclose(ours[name], theirs[name], rel_tol=1e-4), name
        assert ours["learning_rate"] == theirs["learning_rate"]
        assert ours["top1"] == pytest.approx(theirs["top1"], abs=100 / 15 + 1e-6)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(shared: Path, alone: Path) -> None:
    check_losses(result(shared), result(alone))
    weights = [load_file(f / "model.safetensors") for f in (shared, alone)]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], atol=2e-3, rtol=1e-2)


@pytest.mark.slow
def test_two_processes_plan_the_same_epochs_within_hours(tmp_path: Path) -> None:
    at_most = ASKED.index("--epochs") + 1
    words = [*ASKED[:at_most], "1000", *ASKED[at_most + 1 :], "--hours", "0.002"]
    with pair(words, tmp_path / "run") as both:
        found = ended(both, tmp_path / "run")
    assert [code for code, _ in found] == [0, 0], found
    two = result(tmp_path / "run")
    assert 1 <= len(two["history"]) < 1000
    assert two["wall_seconds"] < 60


def launcher_environment() -> dict[str, str]:
    root = str(Path(asvit.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


@pytest.mark.nightly  # as are other launchers
def test_two_machines_have_the_losses_of_one(tmp_path: Path, alone: Path) -> None:
    """A launcher on each of two addresses, as docs/training.md starts them on two machines."""
    port, addresses = pair_environments()[0]["MASTER_PORT"], ("127.0.0.1", "127.0.0.2")
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={number}",
             "--nproc-per-node=1", f"--master-addr={addresses[0]}", f"--master-port={port}",
             f"--local-addr={address}", "-m", "asvit", *ASKED, "--out", "run"],
            env=launcher_environment(), cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number, address in enumerate(addresses)
    ]  # fmt: skip
    try:
        outputs = [machine.communicate(timeout=600) for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    assert [out.count("folder: ") for out, _ in outputs] == [1, 0]
    check_losses(result(tmp_path / "run"), result(alone))


@pytest.mark.nightly
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_a_launcher_starts_two_processes_of_which_one_talks(
    tmp_path: Path, alone: Path, launcher: list[str]
) -> None:
    words = [*launcher, "-m", "asvit", *ASKED, "--out", "run"]
    environment = launcher_environment()
    for _ in range(2):  # the second one finds the result
        done = subprocess.run(
            words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("folder: ") == 1
    check_losses(result(tmp_path / "run"), result(alone))


def wait_for_an_epoch(folder: Path) -> None:
    deadline = time.monotonic() + 300
    while not (folder / "checkpoint.safetensors").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_killed_process_ends_the_other_one(tmp_path: Path, victim: int) -> None:
    with pair([*ASKED, "--epochs", "1000"], tmp_path / "run") as both:
        wait_for_an_epoch(tmp_path / "run")
        both[victim].kill()
        code, told = ended(both, tmp_path / "run")[1 - victim]
    assert code == 3, told
    assert "another of the 2 processes of this training ended" in told.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.nightly
def test_two_killed_processes_go_on_within_an_epoch(tmp_path: Path) -> None:
    # They read losses, and may keep a part of an epoch, every 50 updates; an epoch has 60.
    longer = ["--train-images", "240", "--batch-size", "4", "--epochs", "2"]
    trained(tmp_path / "whole", *longer, "--checkpoint-minutes", "0")
    folder, deadline = tmp_path / "run", time.monotonic() + 300
    with pair([*ASKED, *longer, "--checkpoint-minutes", "1e-9"], folder) as both:
        wait_for_an_epoch(folder)
        while read_header(folder / "checkpoint.safetensors")["part"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for process in both:
            process.kill()
    kept = Checkpoint.read(folder / "checkpoint.safetensors")
    assert len(kept.part.losses) == 50
    ours, theirs = trained(folder, *longer), result(tmp_path / "whole")
    names = ("train_loss", "loss", "top1")
    assert [[row[n] for n in names] for row in ours["history"]] == [
        [row[n] for n in names] for row in theirs["history"]
    ]
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("run", "whole")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
