"""One study that several processes measure: who works on which trial, and who has died.

A study in a run folder belongs to one process. One in a database may have several, on several
machines; each sends a heartbeat for its trials in flight every few seconds.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from asvit.search.sampler import active_trials, place_of

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5
GONE_SECONDS = 30  # without a heartbeat, after which a trial is given up
CLAIM_SECONDS = 3.0  # between asking for a trial and claiming it; takes milliseconds
POLL_SECONDS = 0.5  # between two checks whether others have finished

_MAKING_SECONDS = 2.0
_OWNER = "measured_by"
_DATABASES = ("sqlite", "postgresql", "mysql", "mariadb")
_Record = Callable[[int], None]  # records the heartbeat of a trial


def open_database(url: str) -> BaseStorage:
    """The storage at ``url``, with heartbeats where it is a database."""
    if url.partition(":")[0].partition("+")[0] not in _DATABASES:
        return optuna.storages.get_storage(url)
    try:
        return _open_database(url)
    except (IntegrityError, ProgrammingError):
        # Another process was making the tables of a new database at the same time.
        time.sleep(_MAKING_SECONDS)
        return _open_database(url)


def _open_database(url: str) -> BaseStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        database = RDBStorage(
            url,
            # A connection for each question: none is left open, or gone after a long measurement.
            engine_kwargs={"poolclass": NullPool},
            heartbeat_interval=BEAT_SECONDS,
            grace_period=GONE_SECONDS,
        )
    return optuna.storages.get_storage(database)


class StudyLease:
    """The trials of a study that one process measures.

    Args:
        study: What is measured.
        storage: Where it is, if other processes may share it; None in a run folder.
        folder: Run folder of this process.
    """

    def __init__(self, study: Study, storage: BaseStorage | None, folder: Path) -> None:
        self._study = study
        self._storage = storage
        self._record: _Record | None = getattr(storage, "record_heartbeat", None)
        self._unclaimed: dict[int, float] = {}  # number of a trial to when it was first seen so
        self._owner = f"{socket.gethostname()}:{folder.resolve()}"

    def tidy(self) -> int:
        """Mark the trials that a killed run left in flight as failed; return how many there were.

        Those of other processes are left alone.
        """
        left = self._running()
        if self._storage is not None:
            while self._drop_unclaimed():
                time.sleep(0.1)
            left = [trial for trial in left if trial.user_attrs.get(_OWNER) == self._owner]
        for trial in left:
            self._study.tell(trial.number, state=TrialState.FAIL)
        if left:
            logger.info(
                "%d trial(s) in flight when the run was stopped are measured again", len(left)
            )
        return len(left)

    def ask(
        self, distributions: dict[str, BaseDistribution], count: int, *, wanted: int
    ) -> list[Trial]:
        """Ask the study for ``count`` trials, or fewer, so that ``wanted`` are measured in all."""
        with warnings.catch_warnings():
            # The library warns that heartbeats are for its own loop; ours sends them, too.
            warnings.filterwarnings("ignore", message="Heartbeat of storage")
            count = min(count, wanted - len(active_trials(self._study)))
            asked = [self._study.ask(distributions) for _ in range(count)]
        return [trial for trial in asked if self._storage is None or self._claim(trial, wanted)]

    def _claim(self, trial: Trial, wanted: int) -> bool:
        """Whether ``trial`` is among the ``wanted``; two processes may have taken the last one."""
        try:
            if self._storage is not None and self._record is not None:
                self._record(self._id(self._storage, trial))
            trial.set_user_attr(_OWNER, self._owner)
        except UpdateFinishedTrialError:  # it took too long, and another process gave it up
            return False
        if place_of(self._study, trial) < wanted:
            return True
        self._study.tell(trial, state=TrialState.FAIL)
        return False

    @contextmanager
    def at_work(self, trials: Sequence[Trial]) -> Iterator[None]:
        """Send heartbeats while this process measures ``trials``."""
        if self._storage is None or self._record is None:
            yield
            return
        ended = threading.Event()
        ids = [self._id(self._storage, trial) for trial in trials]
        thread = threading.Thread(target=_beat, args=(self._record, ids, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def wait(self) -> None:
        """Wait for others to finish; the trials of dead processes are given up."""
        if self._record is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self._study)
        self._drop_unclaimed()
        time.sleep(POLL_SECONDS)

    def _drop_unclaimed(self) -> int:
        """Give up trials that nobody has claimed for a while; return how many may be claimed yet.

        A process that is killed between asking for a trial and claiming it leaves one of these.
        """
        now = time.monotonic()
        numbers = [trial.number for trial in self._running() if _OWNER not in trial.user_attrs]
        self._unclaimed = {number: self._unclaimed.get(number, now) for number in numbers}
        dead = [n for n, since in self._unclaimed.items() if now - since >= CLAIM_SECONDS]
        for number in dead:
            self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        return len(numbers) - len(dead)

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _id(self, storage: BaseStorage, trial: Trial) -> int:
        study = storage.get_study_id_from_name(self._study.study_name)
        return storage.get_trial_id_from_study_id_trial_number(study, trial.number)


def _beat(record: _Record, trials: Sequence[int], ended: threading.Event) -> None:
    while True:
        try:
            for trial in trials:
                record(trial)
        except (OSError, OptunaError, SQLAlchemyError) as error:
            logger.warning("the study cannot be told that this run is alive: %s", error)
        if ended.wait(BEAT_SECONDS):
            return
