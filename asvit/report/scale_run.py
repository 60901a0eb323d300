"""What the run folder of a scaling holds, as its report needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit._run_files import CANDIDATES, MEASURED, RESULT, SERIES
from asvit.report.results import OfScaling, check_result
from asvit.report.run import direction, read_object
from proxies.messages import shown
from scaling.trajectory import from_csv

if TYPE_CHECKING:
    from proxies.registry import Better
    from scaling import Row


@dataclass(frozen=True)
class ScaleRun:
    """A scaling that has finished, or that was stopped on the way.

    Attributes:
        name: Name of the run folder.
        series: One row a step.
        candidates: One row a candidate.
        better: Measure to its direction.
        settings: Settings of the scaling; empty where the folder does not tell them.
        result: Content of result.json; empty while the scaling is unfinished.
    """

    name: str
    series: Sequence[Row]
    candidates: Sequence[Row]
    better: Mapping[str, Better]
    settings: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the scaling came to its end."""
        return bool(self.result)


def is_scale_run(folder: Path) -> bool:
    """Whether ``folder`` is the run folder of a scaling."""
    return any((folder / name).is_file() for name in (MEASURED, SERIES))


def read_scale_run(folder: Path) -> ScaleRun:
    """Read the run folder of a scaling.

    Raises:
        FileNotFoundError: If the folder holds no finished step.
        ValueError: If one of its files is not what it should be.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder {str(folder)!r}; asvit scale makes one")
    if not (folder / SERIES).is_file():
        raise FileNotFoundError(f"{folder} is not the folder of a scaling: it has no {SERIES}")
    series, candidates = (_read_rows(folder / name) for name in (SERIES, CANDIDATES))
    result = read_object(folder / RESULT)
    if result:
        check_result(result, OfScaling, folder / RESULT)
    settings = result.get("settings") or {}
    stored = _stored_settings(folder / MEASURED)
    if (stored and stored != settings) or len(result.get("steps", ())) != len(series):
        result, settings = {}, stored  # of a smaller budget: the run is being extended
    steps = {row.step for row in series}
    for near in result.get("nearest", ()):
        if near["step"] not in steps:
            step = shown(near["step"])
            raise ValueError(f"{folder / SERIES} has no step {step}, as {RESULT} has")
    return ScaleRun(
        name=folder.resolve().name,
        series=series,
        candidates=candidates,
        better={name: direction(name) for name in (series[0].values if series else ())},
        settings=settings,
        result=result,
    )


def _read_rows(path: Path) -> list[Row]:
    try:
        return from_csv(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _stored_settings(journal: Path) -> dict[str, Any]:
    """The settings that the journal was last extended to; empty without one.

    Its lines are read as they are: opening it for growing could repair it while a run writes.
    """
    found: dict[str, Any] = {}
    if not journal.is_file():
        return found
    for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"settings"' not in line:
            continue
        try:
            found = json.loads(line)["settings"]
        except (ValueError, KeyError, TypeError):
            continue  # a record cut short
    return found
