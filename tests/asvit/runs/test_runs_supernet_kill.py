"""Training and evolution that are stopped anywhere end as those that never were."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import stoppable_supernet
import torch

from asvit.core.run_files import RETRAINING, SUPERNET_WEIGHTS
from asvit.runs.supernet import train_supernet
from asvit.training.supernets.file import SupernetFile
from experiments import forked
from tests.traps import Stop

KILL, INTERRUPT = signal.SIGKILL, signal.SIGINT
EXITS = {KILL: -KILL, INTERRUPT: 130}

Run = Callable[..., int | None]


@pytest.fixture(scope="module")
def run() -> Run:
    """Runs a function in a process forked from one that has imported everything."""
    return forked.run


@pytest.fixture(scope="module")
def trained(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was never stopped."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(stoppable_supernet.train, folder) == 0
    return folder


@pytest.fixture(scope="module")
def evolved(
    run: Run, trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """What an evolution leaves that was never stopped."""
    folder = tmp_path_factory.mktemp("evolved") / "run"
    assert run(stoppable_supernet.evolve, trained, folder) == 0
    return outcome(folder)


@pytest.fixture(scope="module")
def retrained(
    run: Run, trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """What an evolution leaves whose winner was trained without a stop."""
    folder = tmp_path_factory.mktemp("retrained") / "run"
    assert run(stoppable_supernet.evolve, trained, folder, retrain=True) == 0
    return outcome(folder)


def outcome(folder: Path) -> dict[str, object]:
    """All that a run leaves, but for the time it took and the folders' own names."""
    result = json.loads((folder / "result.json").read_text())
    for name in ("wall_seconds", "command", "next_command"):
        del result[name]
    if result.get("retrained"):
        del result["retrained"]["seconds"]
    names = (
        "losses.csv", "trials.csv", "generations.svg", "costs.csv", "inherited.safetensors",
        "retrained.safetensors",
    )  # fmt: skip
    kept = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    return {"result": result, **kept}


# The file of the start and of three epochs, each with its table, then the result: nine files.
@pytest.mark.parametrize(
    "stop",
    [
        *[("fsync", count, KILL) for count in (1, 2, 4, 9)],
        *[("step", count, KILL) for count in (1, 7, 12)],
        ("save", 4, KILL),
        ("step", 6, INTERRUPT),
    ],
    ids=lambda stop: f"{stop[0]}-{stop[1]}-{stop[2].name}",
)
def test_a_stopped_training_ends_in_the_same_weights(
    tmp_path: Path, run: Run, trained: Path, stop: Stop
) -> None:
    folder = tmp_path / "run"
    assert run(stoppable_supernet.train, folder, stop) == EXITS[signal.Signals(stop[2])]
    assert run(stoppable_supernet.train, folder) == 0
    ours, theirs = (SupernetFile.read(path / SUPERNET_WEIGHTS) for path in (folder, trained))
    assert ours.finished
    assert ours.state.keys() == theirs.state.keys()
    assert all(torch.equal(ours.state[name], theirs.state[name]) for name in ours.state)
    assert outcome(folder) == outcome(trained)


def test_a_kill_costs_an_epoch_at_most(tmp_path: Path, run: Run, trained: Path) -> None:
    assert run(stoppable_supernet.train, tmp_path / "run", ("step", 12, KILL)) == -KILL
    assert (
        SupernetFile.read(tmp_path / "run" / SUPERNET_WEIGHTS).steps == 8
    )  # two epochs of four steps


@pytest.mark.parametrize(
    "stop",
    [
        *[("fsync", count, KILL) for count in (1, 8)],
        *[("accuracy", count, KILL) for count in (1, 6, 16)],
        ("table", 3, KILL),
        ("report", 1, KILL),
        ("accuracy", 7, INTERRUPT),
    ],
    ids=lambda stop: f"{stop[0]}-{stop[1]}-{stop[2].name}",
)
def test_a_stopped_evolution_ends_in_the_same_winner(
    tmp_path: Path, run: Run, trained: Path, evolved: object, stop: Stop
) -> None:
    folder = tmp_path / "run"
    ended = run(stoppable_supernet.evolve, trained, folder, stop)
    assert ended == EXITS[signal.Signals(stop[2])]
    assert run(stoppable_supernet.evolve, trained, folder) == 0
    assert outcome(folder) == evolved


# Twelve steps, six an epoch, with a state at the end of each.
@pytest.mark.parametrize(
    "stop",
    [
        *[("step", count, KILL) for count in (1, 6, 9)],
        *[("state", count, KILL) for count in (1, 2)],
        ("weights", 1, KILL),
        ("retrained", 1, KILL),
        ("report", 1, KILL),
        ("step", 8, INTERRUPT),
    ],
    ids=lambda stop: f"{stop[0]}-{stop[1]}-{stop[2].name}",
)
def test_a_stopped_training_of_the_winner_ends_in_the_same_weights(
    tmp_path: Path, run: Run, trained: Path, retrained: object, stop: Stop
) -> None:
    folder = tmp_path / "run"
    ended = run(stoppable_supernet.evolve, trained, folder, stop, retrain=True)
    assert ended == EXITS[signal.Signals(stop[2])]
    assert run(stoppable_supernet.evolve, trained, folder, retrain=True) == 0
    assert outcome(folder) == retrained
    assert not (folder / RETRAINING).exists()


def test_a_kill_costs_an_epoch_of_the_winners_training_at_most(
    tmp_path: Path, run: Run, trained: Path
) -> None:
    stop = ("step", 7, KILL)
    assert run(stoppable_supernet.evolve, trained, tmp_path / "run", stop, retrain=True) == -KILL
    # Six steps are kept and six are left, so that the seventh is never reached.
    assert run(stoppable_supernet.evolve, trained, tmp_path / "run", stop, retrain=True) == 0


def test_a_training_that_goes_on_elsewhere_is_refused(trained: Path) -> None:
    with pytest.raises(ValueError, match=r"other settings: epochs 3 \(now 4\); give --out"):
        train_supernet(out=trained, **{**stoppable_supernet.TRAINING, "epochs": 4})
