"""What the report of a search shows: its trials, and its result once it has finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.records import MALFORMED, parse_json
from asvit.core.run_files import JOURNAL, RESULT, TRIALS
from asvit.search.result import SearchResult
from asvit.search.rows import read_trials
from proxies.messages import first_line

if TYPE_CHECKING:
    from asvit.search import SearchSettings, TrialRow
    from asvit.spaces import SearchSpace
    from proxies.registry import Better


@dataclass(frozen=True)
class SearchTrials:
    """A search that has finished, or that was stopped on the way.

    Attributes:
        name: Name of the run folder.
        trials: Measured architectures in order.
        better: Measure to its direction: ``"higher"``, ``"lower"`` or ``"reported"``.
        settings: Its settings; None where the folder does not tell them.
        result: Its result; None while it is unfinished.
    """

    name: str
    trials: Sequence[TrialRow]
    better: Mapping[str, Better]
    settings: SearchSettings | None = None
    result: SearchResult | None = None

    @property
    def objectives(self) -> dict[str, Better]:
        """The measures that the search was to improve, with their directions."""
        return {name: way for name, way in self.better.items() if way != "reported"}

    def space(self) -> SearchSpace | None:
        """The search space; None where it is not known here."""
        from asvit.spaces import load_space

        try:
            return None if self.settings is None else load_space(self.settings.space)
        except (KeyError, ValueError):
            return None


def read_run(folder: Path) -> SearchTrials:
    """Read the run folder of a search.

    The table of trials is as good as the study once a search is finished. Before that the study
    is ahead of it, while the search is running or after it was stopped.

    Raises:
        FileNotFoundError: If the folder holds no trials.
        ValueError: If one of its files is not what it should be.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder {str(folder)!r}; asvit search makes one")
    result = SearchResult.read(folder / RESULT) if (folder / RESULT).is_file() else None
    settings = None if result is None else result.settings
    trials = _table(folder / TRIALS, settings)
    if result is None or trials is None or len(trials) != result.steps:
        result = None  # of fewer steps: the run is being extended
        try:
            settings, measured = _recalled(folder / JOURNAL)
        except ValueError:
            if trials is None:
                raise
            settings, measured = None, []  # a report of what can be read is better than none
        table = _table(folder / TRIALS, settings)
        if table is None and settings is None:
            raise FileNotFoundError(f"{folder} is not the folder of a search: it has no {TRIALS}")
        trials = max(table or [], measured, key=len)
    measures = settings.proxies if settings else trials[0].values if trials else ()
    better = {name: direction(name) for name in measures}
    return SearchTrials(folder.resolve().name, trials, better, settings, result)


def _table(path: Path, settings: SearchSettings | None) -> list[TrialRow] | None:
    """The table of trials of a search with ``settings``; None if there is none."""
    return read_trials(path, settings.proxies if settings else ()) if path.is_file() else None


def _recalled(journal: Path) -> tuple[SearchSettings | None, list[TrialRow]]:
    """The settings and measured architectures of the study in ``journal``, if there is one.

    There are no architectures where the space or the controller are not known here. The journal
    is left as it is, so a search may be writing to it.

    Raises:
        ValueError: If the journal is corrupt, or a newer version wrote it.
    """
    if not journal.is_file():
        return None, []
    from asvit.search.journal import read_journal  # Optuna and torch, for unfinished runs only
    from asvit.search.loop import History
    from asvit.search.study import STUDY, find_study, stored_settings
    from asvit.spaces import load_space

    study = find_study(read_journal(journal), STUDY)
    settings = None if study is None else stored_settings(study)
    if study is None or settings is None:
        return None, []
    better = {name: direction(name) for name in settings.proxies}
    try:
        rows = History(study, load_space(settings.space), settings, better).rows
    except (KeyError, ValueError):
        rows = []
    return settings, rows


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object at ``path``; empty when there is no such file.

    Raises:
        ValueError: If it is something else.
    """
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except MALFORMED as error:
        raise ValueError(f"{path} is not JSON: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


def direction(measure: str) -> Better:
    """The direction of ``measure``; merely reported where it is not known here."""
    from proxies import get_proxy

    try:
        return get_proxy(measure).better
    except KeyError:
        return "reported"
