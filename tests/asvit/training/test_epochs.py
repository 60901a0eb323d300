"""When the epochs of a training are kept by a checkpoint."""

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asvit.training import epochs
from asvit.training.checkpoint import TrainerState
from asvit.training.epochs import EpochSession


class Timed(EpochSession[int]):
    """Epochs of a second each; notes which of them checkpoints keep."""

    def __init__(self, number: int, best: int | None = None, minutes: float = 0.0) -> None:
        origin: Any = SimpleNamespace(settings=SimpleNamespace(epochs=number))
        processes: Any = SimpleNamespace(first=True)
        super().__init__(
            folder=Path(), origin=origin, processes=processes, checkpoint_minutes=minutes
        )
        self.kept, self._best = list[int](), best
        self._begin()

    @property
    def best(self) -> int | None:
        return self._best

    def state(self) -> TrainerState:
        return TrainerState({}, {}, {}, {})

    def write_outputs(self) -> None:
        self.kept.append(self.history[-1])

    def kept_until(self, stop: int | None = None) -> list[int]:
        """The epochs that are kept of a training that is stopped after one."""

        def train(epoch: int, _part: object) -> int:
            epochs.time.sleep(1)
            return epoch

        with closing(self.epochs(train)) as rows:
            for row in rows:
                if row == stop:
                    break
        return self.kept


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that writing a checkpoint takes, which can be changed."""
    now, seconds = [100.0], [0.01]

    def wait(passed: float) -> None:
        now[0] += passed

    class Written:
        def __init__(self, *_: object) -> None:
            pass

        def write(self, _path: Path) -> None:
            wait(seconds[0])

    monkeypatch.setattr(epochs.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(epochs.time, "sleep", wait)
    monkeypatch.setattr(epochs, "Checkpoint", Written)
    return seconds


def test_epochs_that_take_long_are_each_kept(writing: list[float]) -> None:
    writing[0] = 0.03125
    assert Timed(5).kept_until() == [0, 1, 2, 3, 4]


def test_short_epochs_are_kept_together_and_the_last_and_the_best_ones_always(
    writing: list[float],
) -> None:
    writing[0] = 0.125  # two and a half epochs
    assert Timed(9).kept_until() == [0, 3, 6, 8]
    assert Timed(9, best=4).kept_until() == [0, 3, 4, 7, 8]


@pytest.mark.parametrize(("stop", "kept"), [(3, [0, 3]), (4, [0, 3, 4]), (5, [0, 3, 5])])
def test_a_stop_after_an_epoch_keeps_it(stop: int, kept: list[int], writing: list[float]) -> None:
    writing[0] = 0.125  # two and a half epochs
    assert Timed(9).kept_until(stop) == kept


def test_where_writing_takes_long_epochs_are_kept_within_the_minutes_between_checkpoints(
    writing: list[float],
) -> None:
    writing[0] = 8.0
    assert Timed(200).kept_until() == [0, 160, 199]
    assert Timed(200, minutes=1).kept_until() == [0, 60, 120, 180, 199]
