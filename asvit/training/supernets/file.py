"""``supernet.safetensors``: the checkpoint of a supernet, finished or in training."""

from pathlib import Path

from asvit.core.run_files import SUPERNET_WEIGHTS
from asvit.training.checkpoint import Checkpoint, check_finite
from asvit.training.supernets.settings import LossRow, SupernetSettings

KIND = "supernet"


def read_supernet(path: Path) -> Checkpoint:
    """Read the file."""
    return Checkpoint.read(path, kind=KIND, settings=SupernetSettings, row=LossRow)


def read_finished(folder: Path) -> Checkpoint:
    """Read the finished supernet in a run folder."""
    trained = read_supernet(folder / SUPERNET_WEIGHTS)
    if not trained.finished:
        raise ValueError(
            f"the supernet in {folder} is unfinished, {len(trained.history)} of {trained.epochs} "
            "epochs; the same asvit supernet train goes on with it"
        )
    check_finite(trained.state.weights, what=f"the weights of the supernet in {folder}")
    return trained
