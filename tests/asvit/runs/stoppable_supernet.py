"""Training and evolution of a tiny supernet, in a process of its own, for tests to stop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import asvit.runs.evolution as runs_evolution
import asvit.runs.supernet as runs_supernet
import asvit.search.supernet_session as session
import asvit.training.supernets.retraining as retraining
from asvit.search.supernet_result import AccuracyJournal
from asvit.training.supernets.file import SupernetFile
from asvit.training.supernets.single_path import SupernetTraining
from tests.traps import Places, Stop, exit_codes, stop_at

TRAINING = {
    "classes": 3, "train_images": 24, "validation_images": 12, "test_images": 12,
    "image_size": 16, "width": 6, "epochs": 3, "batch_size": 6, "device": "cpu",
}  # fmt: skip
EVOLUTION = {
    "population": 5, "generations": 3, "keep": 2, "crossovers": 2, "mutations": 2,
    "random_paths": 3, "device": "cpu",
}  # fmt: skip

_PLACES: Places = {
    "fsync": (os, "fsync"),  # written, but not known to be
    "step": (SupernetTraining, "step"),
    "save": (SupernetFile, "write"),
    "accuracy": (AccuracyJournal, "add"),
    "table": (session, "write_text"),
    "report": (runs_evolution.EvolutionRun, "write_report"),
    "state": (retraining, "write_tensors"),  # of the training of a winner
    "weights": (session, "WeightsFile"),
    "retrained": (AccuracyJournal, "add_retrained"),
}


def train(folder: Path, stop: Stop | None = None) -> None:
    """Train in ``folder``; an interrupt exits with 130."""
    _run(stop, runs_supernet.train_supernet, out=folder, **TRAINING)


def evolve(
    supernet: Path, folder: Path, stop: Stop | None = None, *, retrain: bool = False
) -> None:
    """Evolve in ``folder``; an interrupt exits with 130."""
    settings = {"supernet": supernet, "out": folder, "retrain": retrain, **EVOLUTION}
    _run(stop, runs_evolution.evolve_supernet, **settings)


def _run(stop: Stop | None, function: Any, **settings: Any) -> None:
    stop_at(_PLACES, stop)
    with exit_codes():
        function(**settings)
