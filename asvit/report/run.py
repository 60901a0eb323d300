"""What the run folder of a search holds, as its report needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.search.rows import read_trials

if TYPE_CHECKING:
    from asvit.search import TrialRow
    from asvit.spaces import SearchSpace
    from proxies.registry import Better

RESULT, TRIALS, JOURNAL = "result.json", "trials.csv", "study.journal"


@dataclass(frozen=True)
class SearchRun:
    """A search that has finished, or that was stopped on the way.

    Attributes:
        name: Name of the run folder.
        trials: Measured architectures in order.
        better: Measure to its direction: ``"higher"``, ``"lower"`` or ``"reported"``.
        settings: Settings of the search; empty where the folder does not tell them.
        result: Content of result.json; empty while the search is unfinished.
    """

    name: str
    trials: Sequence[TrialRow]
    better: Mapping[str, Better]
    settings: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def objectives(self) -> dict[str, Better]:
        """The measures that the search was to improve, with their directions."""
        return {name: way for name, way in self.better.items() if way != "reported"}

    @property
    def finished(self) -> bool:
        """Whether the search came to its end."""
        return bool(self.result)

    def space(self) -> SearchSpace | None:
        """The search space; None where it is not known here."""
        from asvit.spaces import load_space

        try:
            return load_space(self.settings["space"])
        except (KeyError, ValueError):
            return None


def read_run(folder: Path) -> SearchRun:
    """Read the run folder of a search.

    Raises:
        FileNotFoundError: If the folder holds no trials.
        ValueError: If one of its files is not what it should be.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder {str(folder)!r}; asvit search makes one")
    path = folder / TRIALS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not the folder of a search: it has no {TRIALS}")
    trials = read_trials(path)
    result = read_object(folder / RESULT)
    if result.get("steps") != len(trials):
        result = {}  # of fewer steps: the run is being extended
    settings = result.get("settings") or _settings_of_study(folder / JOURNAL)
    measures = settings.get("proxies") or (list(trials[0].values) if trials else [])
    return SearchRun(
        name=folder.resolve().name,
        trials=trials,
        better={name: direction(name) for name in measures},
        settings=settings,
        result=result,
    )


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object at ``path``; empty when there is no such file.

    Raises:
        ValueError: If it is something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


def _settings_of_study(journal: Path) -> dict[str, Any]:
    """The settings that an unfinished search keeps with its study; empty if they are elsewhere.

    The journal's lines are read as they are: opening it as a study could repair or lock it while
    a search is writing to it.
    """
    found: dict[str, Any] = {}
    if not journal.is_file():
        return found
    for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
        if '"settings"' not in line:
            continue
        try:
            found = json.loads(line)["user_attr"]["settings"]
        except (ValueError, KeyError, TypeError):
            continue  # a record cut short, or one that is about something else
    return found


def direction(measure: str) -> Better:
    """The direction of ``measure``; merely reported where it is not known here."""
    from proxies import get_proxy

    try:
        return get_proxy(measure).better
    except KeyError:
        return "reported"
