"""What the settings of every kind of run have in common: checks, JSON, presets, differences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypedDict, TypeVar, cast

from asvit._records import MALFORMED
from asvit._types import check_types, is_of
from proxies.messages import first_line, one_line, shown, unknown

S = TypeVar("S")

#: What to do where a run folder holds another run.
ELSEWHERE = "give --out for a new folder or --fresh to start over"


class Settings:
    """Base of the frozen dataclasses that say what a run is asked to do."""

    def to_json(self) -> dict[str, Any]:
        """The settings in the types of JSON."""
        content = dataclasses.asdict(cast("Any", self))
        return {k: list(v) if isinstance(v, tuple) else v for k, v in content.items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read settings back; a field that an older version did not know has its default.

        Raises:
            ValueError: If a field is unknown, as when a newer version wrote it, or a value is not
                allowed.
        """
        if not isinstance(stored, Mapping):
            raise ValueError(f"settings must be names and their values, got {shown(stored)}")
        strange = sorted(set(stored) - set(field_names(cls)))
        if strange:
            raise ValueError(
                f"unknown setting {shown(strange[0])}; a newer asvit may have written it"
            )
        try:
            made = cls(**stored)
        except MALFORMED as error:
            raise ValueError(first_line(error)) from error
        check_types(made)
        return made

    def difference(self, other: Self) -> dict[str, tuple[Any, Any]]:
        """Fields in which ``other`` differs: name to (value here, value there)."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in field_names(self)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def from_preset(
    cls: type[S], presets: Mapping[str, Mapping[str, Any]], preset: str, given: Mapping[str, Any]
) -> S:
    """Settings of class ``cls``: those of a preset with some of them given anew.

    Raises:
        ValueError: If the preset is unknown or a value is not allowed.
        TypeError: If there is no such setting.
    """
    if preset not in presets:
        raise ValueError(unknown("preset", preset, presets))
    names = field_names(cls)
    for name in given:
        if name not in names:
            raise TypeError(unknown("setting", name, names))
    return cls(**{**presets[preset], **given})


def field_names(settings: object) -> list[str]:
    """Names of the settings of a settings class, or of an instance of one."""
    return [field.name for field in dataclasses.fields(cast("Any", settings))]


def check_whole(settings: object, at_least: Mapping[str, int]) -> None:
    """Check that these settings are whole numbers, each at least so large.

    Raises:
        ValueError: If one is not.
    """
    for name, least in at_least.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def check_names(settings: object, names: Sequence[str]) -> None:
    """Check that these settings are texts that are not empty.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be a name, got {value!r}")


LARGEST = 1e37  # of rates and weights; beyond it single precision has no number


def check_number(name: str, value: object, below: float, *, zero: bool) -> None:
    """Check that the setting ``name`` is a number under ``below``, and above 0 or also 0.

    Raises:
        ValueError: If it is not.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (0 <= value < below) or (value == 0 and not zero):  # type: ignore[operator]
        least = "at least 0" if zero else "above 0"
        large = number and value >= below  # type: ignore[operator]
        most = f" and below {below:g}" if below < LARGEST or large else ""
        raise ValueError(f"{name} must be a number {least}{most}, got {value!r}")


def proxy_names(proxies: object) -> tuple[str, ...]:
    """One name or several as a tuple.

    Raises:
        ValueError: If they are no names, there is none, or one is there twice.
    """
    names = (proxies,) if isinstance(proxies, str) else proxies
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"proxies must be names of measures, got {proxies!r}")
    if not names:
        raise ValueError("proxies must name at least one measure, got none")
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise ValueError(f"proxies names {doubled[0]!r} more than once")
    return tuple(names)


def check_radius(radius: object) -> None:
    """Check that ``radius`` is one that :meth:`proxies.Circle.random` takes.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(radius, str):
        allowed = radius in ("sqrt_n", "unit")
    else:
        allowed = isinstance(radius, int | float) and math.isfinite(radius) and radius > 0
    if not allowed or isinstance(radius, bool):
        raise ValueError(f"radius must be 'sqrt_n', 'unit' or a positive number, got {radius!r}")


def check_same_settings(
    folder: Path, stored: Settings | None, wanted: Settings, *, growing: Sequence[str] = ()
) -> None:
    """Check that the run in ``folder`` goes on with the settings it was started with.

    Args:
        folder: Run folder.
        stored: What it was started with; None if there is none yet.
        wanted: What it is asked to do now.
        growing: Names of the numbers that may be larger than they were.

    Raises:
        ValueError: If it does not; the message has each difference.
    """
    changed = {} if stored is None else stored.difference(wanted)
    for name in growing:
        if name in changed and changed[name][0] < changed[name][1]:
            del changed[name]
    if changed:
        differences = ", ".join(
            f"{name} {one_line(str(before))} (now {now})"
            for name, (before, now) in changed.items()
        )
        raise ValueError(
            f"run folder {folder} was started with other settings: {differences}; {ELSEWHERE}"
        )


class Images(TypedDict):
    """What the images of a run are, as its journal keeps it.

    Attributes:
        source: Where they came from, in words.
        digest: SHA-256 of them, in hexadecimal digits.
    """

    source: str
    digest: str


def check_same_images(
    folder: Path, stored: Mapping[str, str] | None, now: Mapping[str, str]
) -> None:
    """Check that the images of the run in ``folder`` are those it was started with, if known.

    Args:
        folder: Run folder.
        stored: Where they came from (``source``) and what they were (``digest``); None if unknown.
        now: The same of the images there are now.

    Raises:
        ValueError: If they are not, or ``stored`` is something else.
    """
    if not is_of(stored, Images | None):
        raise ValueError(f"run folder {folder} may not have the images {shown(stored)}")
    if stored is not None and stored["digest"] != now["digest"]:
        raise ValueError(
            f"run folder {folder} was started with other images: {one_line(stored['source'])}, "
            f"digest {one_line(stored['digest'][:12])} (now {now['source']}, digest "
            f"{now['digest'][:12]}); {ELSEWHERE}"
        )


def check_same_device(folder: Path, stored: str | None, now: str) -> None:
    """Check that the run in ``folder`` is measured on the device it was started on, if known.

    Values differ in their last digits between devices, and ``auto`` is another one elsewhere.

    Args:
        folder: Run folder.
        stored: The device it was started on; None if unknown.
        now: The device there is now.

    Raises:
        ValueError: If they differ.
    """
    if not is_of(stored, str | None):
        raise ValueError(f"run folder {folder} may not have the device {shown(stored)}")
    if stored is not None and stored != now:
        raise ValueError(
            f"run folder {folder} was started on device {one_line(stored)} (now {now}); "
            f"{ELSEWHERE}"
        )
