"""Whether a run goes on as it was started: with the same settings, images and device."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from asvit.core.files import expanded, split_reading
from asvit.core.settings import PLACES, Settings, fields_of, option_of
from proxies.text import one_line

#: What to do where a run folder holds another run.
ELSEWHERE = "give --out for a new folder or --fresh to start over"


class Images(TypedDict):
    """What images are: where they came from, in words, and their SHA-256 in hexadecimal."""

    source: str
    digest: str


def check_same_settings(
    folder: Path,
    before: Settings,
    now: Settings,
    *,
    growing: Sequence[str] = (),
    changing: Sequence[str] = (),
) -> None:
    """Check that the run in ``folder`` goes on with the settings it was started with.

    Numbers named in ``growing`` may be larger now, settings in ``changing`` may differ, and so may
    two paths to one place.

    Raises:
        ValueError: If other settings differ; it lists each of them.
    """
    _refuse(
        folder,
        {
            name: (old, new)
            for name, (old, new) in before.difference(now).items()
            if name not in changing
            and not (name in growing and old < new)
            and not (_is_place(now, name) and _same_place(str(old), str(new)))
        },
    )


def check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that what a run was started with beside its settings is what it goes on with.

    What has a ``digest`` is the same where the digests are, wherever it came from (``source``).
    Values differ in their last digits between kinds of devices, but not between ``cuda`` and
    ``cuda:1``. What is in one of the two only is not compared.

    Raises:
        ValueError: If values differ; it names both.
    """
    shared = [name for name in now if name in before]
    _refuse(
        folder,
        {
            name.replace("_", " "): (_in_words(before[name]), _in_words(now[name]))
            for name in shared
            if _identity(name, before[name]) != _identity(name, now[name])
        },
    )


def without_places(settings: Settings) -> dict[str, Any]:
    """Settings by name, in the types of JSON, but for those that may be paths."""
    stored = settings.to_json()
    return {name: value for name, value in stored.items() if not _is_place(settings, name)}


def _refuse(folder: Path, changes: Mapping[str, tuple[Any, Any]]) -> None:
    """Refuse to go on if anything has changed."""
    if changes:
        words = ", ".join(
            f"{name} {one_line(_listed(old))} (now {_listed(new)})"
            for name, (old, new) in changes.items()
        )
        raise ValueError(f"run folder {folder} was started with {words}; {ELSEWHERE}")


def _listed(value: object) -> str:
    """A value as it is typed, or several with commas."""
    if value is None:
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _identity(name: str, value: Any) -> Any:
    """What tells a value from others."""
    if name == "device":
        return str(value).partition(":")[0]
    return value.get("digest", value) if isinstance(value, Mapping) else value


def _in_words(value: Any) -> Any:
    """A value in a message: of a file or set its source and the beginning of its digest."""
    if isinstance(value, Mapping) and "digest" in value:
        return f"{value.get('source')}, digest {str(value['digest'])[:12]}"
    return value


def _is_place(settings: Settings, name: str) -> bool:
    """Whether a setting may be a path."""
    field = fields_of(type(settings)).get(name)  # none of what tells two kinds of search apart
    option = None if field is None else option_of(field)
    return option is not None and option.complete in PLACES


def _same_place(first: str, second: str) -> bool:
    """Whether two texts are paths to the same file or folder, of images read in the same way."""
    try:
        (old, reading), (new, other_reading) = split_reading(first), split_reading(second)
        return reading == other_reading and expanded(old).samefile(expanded(new))
    except (OSError, ValueError):
        return False
