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


def check_same(
    folder: Path,
    before: Settings | Mapping[str, Any],
    now: Any,
    *,
    growing: Sequence[str] = (),
    changing: Sequence[str] = (),
) -> None:
    """Check that the run in ``folder`` goes on with the settings or values it was started with.

    ``now`` is of the type of ``before``.
    Two paths to one place are the same, and so are images, weights and tables (``source`` and
    ``digest``) of one digest, and ``cuda`` and ``cuda:1``: values differ in their last digits
    between kinds of devices only. Numbers named in ``growing`` may be larger now, what is in
    ``changing`` may differ, and values that only one of the two has are not compared.

    Raises:
        ValueError: If others differ; it lists each of them with both values.
    """
    if isinstance(before, Settings):
        pairs = before.difference(now)
    else:
        shared = [name for name in now if name in before]
        pairs = {name.replace("_", " "): (before[name], now[name]) for name in shared}
    changes = [
        f"{name} {one_line(_in_words(old))} (now {_in_words(new)})"
        for name, (old, new) in pairs.items()
        if name not in changing
        and not (name in growing and old < new)
        and not _are_same(name, old, new)
    ]
    if changes:
        raise ValueError(f"run folder {folder} was started with {', '.join(changes)}; {ELSEWHERE}")


def without_places(settings: Settings) -> dict[str, Any]:
    """Settings by name, in the types of JSON, but for those that may be paths."""
    options = {name: option_of(field) for name, field in fields_of(type(settings)).items()}
    places = {name for name, option in options.items() if option and option.complete in PLACES}
    return {name: value for name, value in settings.to_json().items() if name not in places}


def _are_same(name: str, old: Any, new: Any) -> bool:
    """Whether two values stand for the same."""
    if isinstance(new, Mapping) and "digest" in new:
        return isinstance(old, Mapping) and old.get("digest") == new["digest"]
    if old == new or not (isinstance(old, str) and isinstance(new, str)):
        return bool(old == new)
    if name == "device":
        return old.partition(":")[0] == new.partition(":")[0]
    try:  # paths to the same file or folder, of images read in the same way
        (first, reading), (second, other_reading) = split_reading(old), split_reading(new)
        return reading == other_reading and expanded(first).samefile(expanded(second))
    except (OSError, ValueError):
        return False


def _in_words(value: Any) -> str:
    """A value as it is typed, several with commas; of images and files source and digest."""
    if isinstance(value, Mapping) and "digest" in value:
        return f"{value.get('source')}, digest {str(value['digest'])[:12]}"
    if value is None:
        return "not given"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
