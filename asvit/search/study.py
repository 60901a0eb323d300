"""The Optuna study behind a search, and its journal in the run folder, which survives kills."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import optuna
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study, StudyDirection
from optuna.trial import Trial, TrialState

from asvit.core.codec import MALFORMED, from_json
from asvit.core.files import advice, cut_off
from asvit.search.limits import Excess, Limits
from asvit.search.rows import Measurement
from asvit.search.sampler import Space
from proxies.text import one_line
from scaling.ranking import Directions

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RECORD_START = b'{"op_code":'
_STALE_SECONDS = 3  # a record is written in milliseconds
_FAR = 1e9  # share of a limit, for what is infinitely far above it
OUTSIDE = "limits"  # constraint of a trial
_DIRECTIONS = {"higher": StudyDirection.MAXIMIZE, "lower": StudyDirection.MINIMIZE}


def open_journal(path: Path) -> JournalStorage:
    """Open the journal at ``path``, or start one; the caller must hold the run folder's lock.

    A record without a line end is cut off: its process was killed while writing it.
    """
    if path.exists():
        content = path.read_bytes()
        *lines, tail = content.split(b"\n")
        for number, line in enumerate(lines, start=1):  # the library ignores a damaged last one
            if not _is_record(line):
                raise ValueError(
                    f"{path}, line {number} is not a journal record; {advice(number)}"
                )
        if not (tail.startswith(_RECORD_START[: len(tail)]) or not tail.strip(b"\0")):
            raise ValueError(f"{path} does not end in a journal record; {advice()}")
        cut_off(path, len(content), tail)
    for left in path.parent.glob(f"{path.name}.lock*.rename"):  # by a process that was killed
        left.unlink(missing_ok=True)
    # The lock excludes other writers, such as a dashboard; that of a killed process gives way.
    lock = JournalFileOpenLock(str(path), grace_period=_STALE_SECONDS)
    if path.with_name(f"{path.name}.lock").exists():  # which would stay if nothing is written
        lock.acquire()
        lock.release()
    try:
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except (*MALFORMED, AssertionError, OptunaError) as error:
        raise ValueError(
            f"{path} is corrupt: its records do not make a study ({one_line(repr(error))}); "
            f"{advice()}"
        ) from error
    return storage


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line)["op_code"], int)
    except MALFORMED:
        return False


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep the library's line per trial off the terminal; its warnings stay."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(journal: Path, objectives: Directions) -> Study:
    """The study in a run folder's journal; a new one, with one value per objective, if none is."""
    storage = open_journal(journal)
    names = optuna.get_all_study_names(storage)
    if names:  # it keeps its name when the folder is renamed
        return optuna.load_study(study_name=names[0], storage=storage)
    return create_study(storage, journal.parent.resolve().name or "search", objectives)


def create_study(storage: BaseStorage, name: str, objectives: Directions) -> Study:
    """A new study with one value per objective."""
    ways = [_DIRECTIONS[way] for way in objectives.values()]
    study = optuna.create_study(storage=storage, study_name=name, directions=ways)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(objectives))
    return study


def stored(study: Study, name: str) -> dict[str, Measurement]:
    """The measurements in an attribute of a study, by their keys."""
    records = study.user_attrs.get(name, {})
    return {key: from_json(record, Measurement) for key, record in records.items()}


def requeue(study: Study, space: Space) -> None:
    """Put the choices of trials that a killed run left in flight in the queue."""
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in left:
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params.keys() == space.keys():
            study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
    if left:
        logger.info("%d trial(s) in flight when the run was stopped are measured again", len(left))


def ask(study: Study, space: Space, limits: Limits | None = None) -> Trial:
    """Ask for trials until one is within the limits.

    The others are kept as pruned, with the constraint that they break: samplers of the library
    learn of it.
    """

    def prune(trial: Trial, excess: Excess) -> None:
        trial.set_constraint(OUTSIDE, min(excess.share, _FAR))
        study.tell(trial, state=TrialState.PRUNED)

    def draw() -> Trial:
        trial = study.ask(space)
        notes = getattr(study.sampler, "notes", {})
        for name, value in notes.pop(trial.number, {}).items():
            trial.set_user_attr(name, value)
        return trial

    if limits is None:
        return draw()
    return limits.first(draw, lambda trial: trial.params, outside=prune)
