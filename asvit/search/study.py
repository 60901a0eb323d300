"""The Optuna study behind a search, and its journal in the run folder, which survives kills."""

import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study, StudyDirection
from optuna.trial import Trial, TrialState

from asvit.core.files import check_plain, sync_folder
from asvit.core.records import MALFORMED, advice, cut_off
from asvit.core.store import Store
from asvit.search.limits import Excess, Limits
from asvit.search.sampler import SpaceSampler
from asvit.search.settings import SearchSettings
from proxies.text import one_line
from scaling.ranking import Directions

logger = logging.getLogger(__name__)

_RECORD_START = b'{"op_code":'
_STALE_SECONDS = 3  # a record is written in milliseconds
_FAR = 1e9  # share of a limit, for what is infinitely far above it
OUTSIDE = "limits"  # constraint of a trial
_DIRECTIONS = {"higher": StudyDirection.MAXIMIZE, "lower": StudyDirection.MINIMIZE}
LOST_NOTHING = "what was measured is safe, and the same command continues"


def open_journal(path: Path) -> JournalStorage:
    """Open the journal at ``path``, or start one.

    A record without a line end is cut off: its process was killed while writing it. The caller
    must hold the run folder's lock.

    Raises:
        ValueError: If a line is not a record, or the records do not make a study. Nothing is
            changed then.
        OSError: If the file cannot be read or written.
    """
    check_plain(path)
    new = not path.exists()
    if not new:
        content = path.read_bytes()
        *lines, tail = content.split(b"\n")
        _check(path, lines)
        if not (tail.startswith(_RECORD_START[: len(tail)]) or not tail.strip(b"\0")):
            raise ValueError(f"{path} does not end in a journal record; {advice()}")
        cut_off(path, len(content), tail)
    storage = _replay(path)
    if new:
        sync_folder(path.parent)
    return storage


def read_journal(path: Path) -> JournalStorage:
    """Open the journal at ``path`` for reading only.

    It is neither locked nor repaired, so a search may be writing to it; an incomplete last record
    is left out.
    """
    check_plain(path)
    if path.is_file():
        _check(path, path.read_bytes().split(b"\n")[:-1])
    return _replay(path)


def _check(path: Path, lines: Iterable[bytes]) -> None:
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except MALFORMED:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("op_code"), int):
            raise ValueError(f"{path}, line {number} is not a journal record; {advice(number)}")


def _replay(path: Path) -> JournalStorage:
    # The lock excludes other writers, such as a dashboard; that of a killed process gives way.
    lock = JournalFileOpenLock(str(path), grace_period=_STALE_SECONDS)
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except (*MALFORMED, AssertionError, OptunaError) as error:
        raise ValueError(
            f"{path} is corrupt: its records do not make a study ({one_line(repr(error))}); "
            f"{advice()}"
        ) from error


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep the library's line per trial off the terminal; its warnings stay."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def storing() -> Iterator[None]:
    """Turn the error of a journal that cannot be written into one line that says so."""
    try:
        yield
    except OSError as error:
        # One without a number is of a program of the user's, rather than the system's.
        if error.errno is None:
            raise
        message = f"the study cannot be written; {LOST_NOTHING} ({error.strerror})"
        raise OSError(error.errno, message) from error


def first_study(storage: BaseStorage) -> Study | None:
    """The study of a run folder's journal, or None; its name stays when the folder is renamed."""
    names = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=names[0], storage=storage) if names else None


def create_study(storage: BaseStorage, name: str, objectives: Directions) -> Study:
    """A new study with one value per objective."""
    ways = [_DIRECTIONS[way] for way in objectives.values()]
    study = optuna.create_study(storage=storage, study_name=name, directions=ways)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(objectives))
    return study


class StudyStore(Store[SearchSettings]):
    """A study with what the search was started with, its attributes."""

    def __init__(self, study: Study) -> None:
        self.study = study  #: what has been measured, and where more is stored
        self._read()

    def _read(self) -> None:
        stored = self.study.user_attrs
        settings = stored.get("settings")
        self.settings = None if settings is None else SearchSettings.from_json(settings)
        self.start_values = {name: stored[name] for name in stored if name != "settings"}

    def start(self, settings: SearchSettings, **values: Any) -> None:
        """As the base says; the settings come last: a study with settings has all of it."""
        known = self.start_values.keys() if self.settings is not None else ()
        for name, value in values.items():
            if value is not None and name not in known:
                self.study.set_user_attr(name, value)
        if self.settings != settings:
            self.study.set_user_attr("settings", settings.to_json())
        self._read()


def requeue(study: Study) -> int:
    """Put the trials that a killed run left in flight in the queue; return how many there were.

    They are measured again under their numbers, which thus stay those of trials.csv.
    """
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in left:
        study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    if left:
        logger.info("%d trial(s) in flight when the run was stopped are measured again", len(left))
    return len(left)


def ask(study: Study, space: dict[str, BaseDistribution], limits: Limits | None = None) -> Trial:
    """Ask for trials until one is within the limits.

    The others are kept as pruned, with the constraint that they break, of which samplers of the
    library learn.
    """

    def prune(trial: Trial, excess: Excess) -> None:
        trial.set_constraint(OUTSIDE, min(excess.share, _FAR))
        study.tell(trial, state=TrialState.PRUNED)

    def draw() -> Trial:
        trial = study.ask(space)
        if isinstance(study.sampler, SpaceSampler):
            for name, value in study.sampler.notes.pop(trial.number, {}).items():
                trial.set_user_attr(name, value)
        return trial

    if limits is None:
        return draw()
    return limits.first(draw, lambda trial: trial.params, outside=prune)
