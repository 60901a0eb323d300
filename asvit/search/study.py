"""The Optuna study behind a search: opened, kept with its settings, and shared by processes.

A study in a run folder belongs to one process. One in a database may have several, on several
machines; each sends a heartbeat for its trials in flight every few seconds.
"""

import hashlib
import json
import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import (
    ExperimentalWarning,
    OptunaError,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import column, exc, insert, table
from sqlalchemy.pool import NullPool

from asvit.core.secrets import HIDDEN, censored, public_url
from asvit.core.store import Store
from asvit.search.limits import Excess, Limits
from asvit.search.sampler import active_trials, measure_again, place_of
from asvit.search.settings import SearchSettings
from proxies.messages import first_line
from proxies.text import one_line
from scaling.ranking import Directions

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5
GONE_SECONDS = 30  # without a heartbeat, after which a trial is given up
CLAIM_SECONDS = 3.0  # between asking for a trial and claiming it; takes milliseconds
POLL_SECONDS = 0.5  # between two checks whether others have finished

_MAKING_SECONDS = 2.0
_FAR = 1e9  # share of a limit, for what is infinitely far above it
_OWNER = "measured_by"
OUTSIDE = "limits"  # constraint of a trial
_DATABASES = ("sqlite", "postgresql", "mysql", "mariadb")
_ATTRIBUTES = table(
    "study_user_attributes", column("study_id"), column("key"), column("value_json")
)
_Record = Callable[[int], None]  # records the heartbeat of a trial
_DIRECTIONS = {"higher": StudyDirection.MAXIMIZE, "lower": StudyDirection.MINIMIZE}


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep the library's line per trial off the terminal; its warnings stay."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def open_url(url: str) -> RDBStorage:
    """The database at ``url``, any that Optuna knows; with heartbeats where it supports them."""
    try:
        try:
            return _open(url)
        except exc.DBAPIError as error:
            if not _is_being_made(error):
                raise
            time.sleep(_MAKING_SECONDS)
            return _open(url)
    except Exception as error:  # noqa: BLE001 - drivers raise anything
        public = one_line(public_url(url))
        why = censored(first_line(error), ["--storage", url])
        if isinstance(error, TypeError) and url.startswith("postgresql"):
            # psycopg gives bytes where others give text.
            why = f"{why}; its encoding may be SQL_ASCII: create it with ENCODING 'UTF8'"
        # The library's error may quote the address, and a traceback would show it.
        raise ValueError(f"cannot open the storage {public}: {why}") from (
            None if HIDDEN in public else error
        )


def _is_being_made(error: exc.DBAPIError) -> bool:
    """Whether another process was making the tables of a new database at the same time."""
    if isinstance(error, exc.OperationalError):  # also of a server that cannot be reached
        return any(words in str(error.orig) for words in ("already exists", "locked"))
    return isinstance(error, exc.IntegrityError | exc.ProgrammingError)


def _open(url: str) -> RDBStorage:
    if url.partition(":")[0].partition("+")[0] not in _DATABASES:
        return RDBStorage(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(
            url,
            # A connection for each question: none is left open, or gone after a long measurement.
            engine_kwargs={"poolclass": NullPool},
            heartbeat_interval=BEAT_SECONDS,
            grace_period=GONE_SECONDS,
            heartbeat_stale_trial_callback=measure_again,
        )


@contextmanager
def storing(*, file: bool = False) -> Iterator[None]:
    """Turn what a storage raises that cannot be reached or written into one line that says so."""
    try:
        yield
    except OSError as error:
        # One without a number is of a program of the user's, rather than the system's.
        if not file or error.errno is None or isinstance(error, FileNotFoundError):
            raise
        message = f"the study cannot be written; {LOST_NOTHING} ({error.strerror})"
        raise OSError(error.errno, message) from error
    except KeyError as error:
        if _NO_RECORD not in str(error):
            raise
        raise ValueError(STARTED_OVER) from error
    except (exc.SQLAlchemyError, StorageInternalError) as error:
        # Optuna guesses ("exceeding max length") where it is the database's error that tells.
        cause = error.__cause__ if isinstance(error.__cause__, exc.SQLAlchemyError) else error
        gone = isinstance(cause, exc.OperationalError | exc.InterfaceError)
        what = "the database cannot be reached or used" if gone else "the study cannot be written"
        raise OSError(f"{what}; {LOST_NOTHING} ({first_line(cause)})") from error


LOST_NOTHING = "what was measured is safe, and the same command continues"
STARTED_OVER = (
    "another process has started the study over, with --fresh; the same command takes part in it"
)
_NO_RECORD = "Record does not exist"  # what databases of Optuna say of what was deleted


def find_study(storage: BaseStorage, name: str) -> Study | None:
    """The study called ``name``, or None."""
    if name not in optuna.get_all_study_names(storage):
        return None
    return optuna.load_study(study_name=name, storage=storage)


def first_study(storage: BaseStorage) -> Study | None:
    """The study of a run folder's journal, or None; its name stays when the folder is renamed."""
    names = optuna.get_all_study_names(storage)
    return find_study(storage, names[0]) if names else None


def create_study(storage: BaseStorage, name: str, objectives: Directions) -> Study:
    """A new study with one value per objective, or what another process made of it just now."""
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=[_DIRECTIONS[way] for way in objectives.values()],
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(objectives))
    return study


class StudyStore(Store[SearchSettings]):
    """A study with what the search was started with, its attributes.

    Attributes:
        study: The Optuna study: what has been measured, and where more is stored.
        shared: The database that it is in; None for a journal in the folder of one process.
    """

    def __init__(self, study: Study, shared: RDBStorage | None = None) -> None:
        self.study = study
        self.shared = shared
        self._read()

    def _read(self) -> None:
        stored = self.study.user_attrs
        settings = stored.get("settings")
        self.settings = None if settings is None else SearchSettings.from_json(settings)
        self.start_values = {name: stored[name] for name in stored if name != "settings"}

    def start(self, settings: SearchSettings, **values: Any) -> bool:
        """As the base says; of several processes that share a database one is first."""
        checked = self.settings
        self._read()
        if self.settings != checked:  # another process has started or extended it meanwhile
            return False
        started = self.settings is not None
        names = self.start_values.keys() if started else ()
        missing = {
            name: value
            for name, value in values.items()
            if value is not None and name not in names
        }
        if not started:  # last: a study with settings has all of it, whenever the process ends
            missing["settings"] = settings.to_json()
        if not _add(self.study, missing, self.shared):
            self._read()
            return False
        if started and self.settings != settings:
            self.study.set_user_attr("settings", settings.to_json())
        self._read()
        return True


def _add(study: Study, attributes: Mapping[str, Any], shared: RDBStorage | None) -> bool:
    """Whether ``attributes``, which ``study`` lacks, are added: all, or none if it has any now."""
    if shared is None:
        for name, value in attributes.items():
            study.set_user_attr(name, value)
        return True
    number = shared.get_study_id_from_name(study.study_name)
    rows = [
        {"study_id": number, "key": name, "value_json": json.dumps(value)}
        for name, value in attributes.items()
    ]
    try:
        if rows:
            # Optuna's own call replaces what another process has just written.
            with shared.engine.begin() as connection:
                connection.execute(insert(_ATTRIBUTES).values(rows))
    except exc.IntegrityError:
        return False
    return True


@dataclass
class StudyLease:
    """The trials of a study that one process measures."""

    study: Study
    storage: BaseStorage | None  # where it is, if other processes may share it
    folder: Path  # of this process
    limits: Limits | None = None

    def __post_init__(self) -> None:
        self._record: _Record | None = getattr(self.storage, "record_heartbeat", None)
        self._held: set[int] = set()  # ids of its trials, for heartbeats
        self._unclaimed: dict[int, float] = {}  # number of a trial to when it was first seen so
        place = f"{socket.gethostname()}:{self.folder.resolve()}"
        self._owner = hashlib.sha256(place.encode()).hexdigest()[:16]  # names no machine

    def tidy(self) -> int:
        """Give up the trials that a killed run left in flight; return how many there were.

        In a journal they are measured again under their numbers, which thus stay those of
        trials.csv. In a shared storage those of this process are marked as failed, and others
        take their architectures.
        """
        left = self._running()
        if self.storage is not None:
            while self._drop_unclaimed():
                time.sleep(0.1)
            left = [trial for trial in left if trial.user_attrs.get(_OWNER) == self._owner]
        for trial in left:
            if self.storage is None:
                journal = self.study._storage
                journal.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            else:
                with suppress(UpdateFinishedTrialError):  # given up by another process meanwhile
                    self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    measure_again(self.study, trial)
        if left:
            logger.info(
                "%d trial(s) in flight when the run was stopped are measured again", len(left)
            )
        return len(left)

    def ask(
        self, distributions: dict[str, BaseDistribution], count: int, *, wanted: int
    ) -> list[Trial]:
        """Ask the study for ``count`` trials, or fewer, so that ``wanted`` are measured in all."""
        self._held = set()
        with warnings.catch_warnings(), self._beating():
            # The library warns that heartbeats are for its own loop; ours sends them, too.
            warnings.filterwarnings("ignore", message="Heartbeat of storage")
            count = min(count, wanted - len(active_trials(self.study)))
            trials = []
            for _ in range(count):
                with suppress(UpdateFinishedTrialError):  # given up by others during the draw
                    trial = self._ask(distributions)
                    # Each is claimed before the next one is drawn, which may take long.
                    if self.storage is None or self._claim(trial, wanted):
                        trials.append(trial)
        return trials

    def hold(self, trial: FrozenTrial | Trial) -> None:
        """Write that this process has a trial, and send heartbeats for it from now on.

        Samplers call it before they draw, which takes long where networks are timed.

        Raises:
            UpdateFinishedTrialError: If another process gave it up.
        """
        if self.storage is None:
            return
        if self._record is not None:
            self._record(trial._trial_id)
        self.storage.set_trial_user_attr(trial._trial_id, _OWNER, self._owner)
        self._held.add(trial._trial_id)

    def _ask(self, distributions: dict[str, BaseDistribution]) -> Trial:
        """Ask for trials until one is within the limits.

        The others are kept as pruned, with the constraint that they break, of which samplers of
        the library learn.
        """

        def prune(trial: Trial, excess: Excess) -> None:
            with suppress(UpdateFinishedTrialError):  # given up by others meanwhile
                trial.set_constraint(OUTSIDE, min(excess.share, _FAR))
                self.study.tell(trial, state=TrialState.PRUNED)

        def draw() -> Trial:
            trial = self.study.ask(distributions)
            with suppress(UpdateFinishedTrialError):  # which its claim finds
                self.hold(trial)  # before its network is timed
            return trial

        if self.limits is None:
            return self.study.ask(distributions)
        return self.limits.first(draw, lambda trial: trial.params, outside=prune)

    def _claim(self, trial: Trial, wanted: int) -> bool:
        """Whether ``trial`` is among the ``wanted``; two processes may have taken the last one."""
        try:
            self.hold(trial)
        except UpdateFinishedTrialError:  # it took too long, and another process gave it up
            return False
        if place_of(self.study, trial) < wanted:
            return True
        self.study.tell(trial, state=TrialState.FAIL)
        return False

    @contextmanager
    def at_work(self, trials: Sequence[Trial]) -> Iterator[None]:
        """Send heartbeats while this process measures ``trials``."""
        self._held = {trial._trial_id for trial in trials}
        with self._beating():
            yield

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Send heartbeats for the trials held, those that are added meanwhile among them."""
        if self.storage is None or self._record is None:
            yield
            return
        ended, args = threading.Event(), (self._record, self._held)
        thread = threading.Thread(target=_beat, args=(*args, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def check_own(self, trial: Trial) -> None:
        """Check that a trial is still this process's: a new study may have one of its number.

        Raises:
            ValueError: If it is not.
        """
        if self.storage is None:
            return
        there = self.storage.get_trial(trial._trial_id)  # the trial itself keeps what it had
        if there.user_attrs.get(_OWNER) != self._owner:
            raise ValueError(STARTED_OVER)

    def wait(self) -> None:
        """Wait for others to finish; the trials of dead processes are given up."""
        if self._record is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self.study)
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
            self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        return len(numbers) - len(dead)

    def _running(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def _beat(record: _Record, trials: Set[int], ended: threading.Event) -> None:
    while True:
        try:
            for trial in tuple(trials):
                record(trial)
        except (OSError, OptunaError, exc.SQLAlchemyError) as error:
            why = first_line(error.__cause__ or error)
            logger.warning("the study cannot be told that this run is alive: %s", why)
        if ended.wait(BEAT_SECONDS):
            return
