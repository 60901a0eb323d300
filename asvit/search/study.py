"""The Optuna study behind a search: opened, and kept with what it was started with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from asvit.core.run_files import STUDY as STUDY
from asvit.search.settings import SearchSettings
from asvit.search.sharing import open_database
from proxies.messages import first_line, shown
from scaling.ranking import Better

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


def open_url(url: str) -> BaseStorage:
    """The storage at ``url``, which is any that Optuna knows.

    Raises:
        ValueError: If it cannot be opened.
    """
    try:
        return open_database(url)
    except (ImportError, ValueError, SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise ValueError(
            f"cannot open the storage {without_password(url)}: {first_line(error)}"
        ) from error


def without_password(url: str) -> str:
    """``url`` as a message or a file may hold it."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return shown(url)


def find_study(storage: BaseStorage, name: str) -> Study | None:
    """The study called ``name``, or None."""
    if name not in optuna.get_all_study_names(storage):
        return None
    return optuna.load_study(study_name=name, storage=storage)


def create_study(storage: BaseStorage, name: str, objectives: Mapping[str, Better]) -> Study:
    """A new study with one value per objective, or what another process made of it just now."""
    return optuna.create_study(
        storage=storage,
        study_name=name,
        directions=[_DIRECTIONS[way] for way in objectives.values()],
        load_if_exists=True,
    )


def keep_start(
    study: Study,
    settings: SearchSettings,
    images: Mapping[str, str] | None,
    device: str | None = None,
) -> None:
    """Keep with ``study`` what it was started with, after all of it was checked."""
    if stored_settings(study) != settings:
        study.set_user_attr("settings", settings.to_json())
    if images is not None and "images" not in study.user_attrs:
        study.set_user_attr("images", dict(images))
    if device is not None and "device" not in study.user_attrs:
        study.set_user_attr("device", device)


def stored_settings(study: Study) -> SearchSettings | None:
    """The settings that ``study`` was started with (the steps as last extended)."""
    stored: Mapping[str, Any] | None = study.user_attrs.get("settings")
    return None if stored is None else SearchSettings.from_json(stored)
