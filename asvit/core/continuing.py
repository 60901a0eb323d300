"""Whether a run goes on as it was started: with the same settings, images and device."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from asvit.core.codec import is_of
from asvit.core.files import expanded, split_reading
from asvit.core.settings import PLACES, Settings, fields_of, option_of
from proxies.text import one_line, shown

#: What to do where a run folder holds another run.
ELSEWHERE = "give --out for a new folder or --fresh to start over"


def check_same_settings(
    folder: Path,
    stored: Settings | None,
    wanted: Settings,
    *,
    growing: Sequence[str] = (),
    changing: Sequence[str] = (),
) -> None:
    """Check that the run in ``folder`` goes on with the settings it was started with, if it was.

    Numbers named in ``growing`` may be larger now, settings in ``changing`` may differ, and so may
    two paths to one place.

    Raises:
        ValueError: If other settings differ; it lists each of them.
    """
    changed = {} if stored is None else stored.difference(wanted)
    for name in [*changed]:
        if _is_place(wanted, name) and _same_place(*changed[name]):
            del changed[name]
    for name in growing:
        if name in changed and changed[name][0] < changed[name][1]:
            del changed[name]
    for name in changing:
        changed.pop(name, None)
    if changed:
        differences = ", ".join(
            f"{name} {one_line(_listed(before))} (now {_listed(now)})"
            for name, (before, now) in changed.items()
        )
        raise ValueError(
            f"run folder {folder} was started with other settings: {differences}; {ELSEWHERE}"
        )


def without_places(settings: Settings) -> dict[str, Any]:
    """Settings by name, in the types of JSON, but for those that may be paths."""
    stored = settings.to_json()
    return {name: value for name, value in stored.items() if not _is_place(settings, name)}


def _is_place(settings: Settings, name: str) -> bool:
    """Whether a setting may be a path."""
    field = fields_of(type(settings)).get(name)  # none of what tells two kinds of search apart
    option = None if field is None else option_of(field)
    return option is not None and option.complete in PLACES


def _same_place(first: object, second: object) -> bool:
    """Whether two texts are paths to the same file or folder, of images read in the same way."""
    try:
        (old, way), (new, other_way) = (split_reading(str(each)) for each in (first, second))
        return way == other_way and expanded(old).samefile(expanded(new))
    except (OSError, ValueError):
        return False


def _listed(value: object) -> str:
    """A value as it is typed, or several with commas."""
    if value is None:
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


class Images(TypedDict):
    """What images are: where they came from, in words, and their SHA-256 in hexadecimal."""

    source: str
    digest: str


def check_same_images(
    folder: Path, stored: Mapping[str, str] | None, now: Mapping[str, str]
) -> None:
    """Check that the images of the run in ``folder`` are those it was started with, if known.

    What is stored may be anything: it comes from a file.
    """
    if not is_of(stored, Images | None):
        raise ValueError(f"run folder {folder} may not have the images {shown(stored)}")
    check_same_digest(folder, "with other images", "source", stored, now)


def check_same_digest(
    folder: Path, what: str, name: str, stored: Mapping[str, Any] | None, now: Mapping[str, str]
) -> None:
    """Check that the images, weights or table of a run, if known, have the same digest now.

    ``what`` follows "was started" in the message, such as ``"with other images"``; ``name`` is the
    key of the description in ``stored`` and ``now``.
    """
    if stored is not None and stored["digest"] != now["digest"]:
        raise ValueError(
            f"run folder {folder} was started {what}: {one_line(stored[name])}, digest "
            f"{one_line(stored['digest'][:12])} (now {now[name]}, digest {now['digest'][:12]}); "
            f"{ELSEWHERE}"
        )


def check_same_device(folder: Path, stored: str | None, now: str) -> None:
    """Check that the run in ``folder`` is measured on a device as it was started on, if known.

    Values differ in their last digits between kinds of devices, and ``auto`` is another one
    elsewhere. The number of a device does not matter: ``cuda`` may go on as ``cuda:1``.
    """
    if not is_of(stored, str | None):
        raise ValueError(f"run folder {folder} may not have the device {shown(stored)}")
    if stored is not None and not same_kind(stored, now):
        raise ValueError(
            f"run folder {folder} was started on device {one_line(stored)} (now {now}); "
            f"{ELSEWHERE}"
        )


def check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that what a run was started with beside its settings is what it goes on with.

    What has a ``digest`` is the same where the digests are, wherever it came from (``source``).

    Raises:
        ValueError: If a value differs; it names both.
    """
    for name in now.keys() & before.keys():
        old, new = before[name], now[name]
        if name == "device":
            check_same_device(folder, old, new)
        elif isinstance(new, Mapping) and "digest" in new:
            one = "other" if name.endswith("s") else "another"
            check_same_digest(folder, f"with {one} {name}", "source", old, new)
        elif old != new:
            raise ValueError(
                f"run folder {folder} was started with {name.replace('_', ' ')} "
                f"{one_line(str(old))} (now {new}); {ELSEWHERE}"
            )


def same_kind(first: str, second: str) -> bool:
    """Whether two devices differ at most in their numbers, as ``cuda`` and ``cuda:1``."""
    return len({re.sub(r":\d+$", "", device) for device in (first, second)}) == 1
