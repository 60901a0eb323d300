"""The architecture to train: a text, or what an earlier run ended in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from asvit._files import expanded
from asvit._records import MALFORMED, parse_json
from asvit._run_files import RESULT
from asvit._types import is_of
from asvit.spaces.architectures import canonical
from proxies.messages import first_line, shown

# Kind of run to where its result has the architecture that it ended in.
_ENDS = {
    "search": "seed_architecture",
    "scale": "architecture",
    "evolution": "architecture",
    "training": "architecture",
}
_MEASURES = ("length_distortion", "ntk_condition_number")


@dataclass(frozen=True)
class Found:
    """An architecture, and where it comes from.

    Attributes:
        architecture: Its text, in the canonical form.
        by: The run that found it: its kind, folder, and what it measured; None for a text.
    """

    architecture: str
    by: Mapping[str, Any] | None = None


def find_architecture(text: str) -> Found:
    """The architecture of a text, or the one that the run in a folder ended in.

    Raises:
        FileNotFoundError: If the folder has no result.
        ValueError: If there is no such architecture, or the run ends in none.
    """
    folder = expanded(text)
    if not folder.is_dir():
        return Found(canonical(text))
    content = _result(folder)
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in _ENDS:
        raise ValueError(
            f"{folder} holds a run of kind {shown(kind)}, which ends in no architecture; "
            f"use a {', '.join(_ENDS)} or an architecture"
        )
    try:
        architecture = canonical(content[_ENDS[kind]])
        measures = content["steps"][-1] if kind == "scale" else content
        if not isinstance(measures, dict):
            raise ValueError(f"its last step is {shown(measures)}")
        measured = {name: _measure(measures[name]) for name in _MEASURES if name in measures}
    except MALFORMED as error:
        raise ValueError(
            f"{folder} ends in no architecture that is known here: {first_line(error)}"
        ) from error
    return Found(architecture, {"kind": kind, "run": str(folder), **measured})


def _measure(value: object) -> float | None:
    """The value of a measure as result.json has it: None where it failed."""
    if not is_of(value, float | None):
        raise ValueError(f"a measure may not be {shown(value)}")
    return cast("float | None", value)


def _result(folder: Path) -> dict[str, Any]:
    path = folder / RESULT
    if not path.exists():
        raise FileNotFoundError(
            f"{folder} has no {RESULT}: it is no finished run; name an architecture"
        )
    try:
        content = parse_json(path.read_bytes())
    except MALFORMED as error:
        raise ValueError(f"{path} is damaged: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no result of a run")
    return content
