"""Trainings shared out among processes of this machine, one for each job."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from asvit.executors import Pool, Task, Work
from asvit.executors.processes import ProcessBackend
from asvit.reference.journal import Outcome, Training
from asvit.reference.recipe import BuildSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def train_all(
    trainings: Sequence[Training], settings: BuildSettings, devices: Sequence[str]
) -> Generator[tuple[Training, Outcome]]:
    """Train in one process for each of ``devices``, which may name one several times.

    Args:
        trainings: What to train.
        settings: Settings of the table.
        devices: Where each process trains.

    Yields:
        Each training with its outcome, as they end. Leaving the iteration ends the processes.

    Raises:
        ChildProcessError: If a training ended several processes, as too little memory does.
    """
    work = Work("asvit.reference.workers:TrainingWorker", settings.to_json())
    tasks = [training._asdict() for training in trainings]
    with closing(Pool(ProcessBackend(work, devices))) as pool, closing(pool.run(tasks)) as answers:
        for number, answer in answers:
            if answer.failure:
                raise ChildProcessError(
                    f"{trainings[number].architecture} was not trained: {answer.failure}; what "
                    "was trained is safe, and the same command continues, with fewer --jobs if "
                    "memory ran out"
                )
            yield trainings[number], Outcome.from_json(answer.result)


class TrainingWorker:
    """Trains on one device; made and called as executors do it."""

    def __init__(
        self, settings: Mapping[str, Any], _arrays: Mapping[str, NDArray[np.generic]], device: str
    ) -> None:
        from asvit.reference.trainer import Trainer  # torch

        self._train = Trainer(BuildSettings.from_json(settings), device)

    def __call__(self, task: Task) -> dict[str, Any]:
        """Train what the task names."""
        return self._train(Training(**task)).to_json()
