"""The reliability of a search, until searches are ported to :class:`asvit.runs.run.Run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from asvit._run_files import RESULT
from asvit.codec import to_json, value_from_json
from asvit.progress import Tell, ignore
from asvit.reference.reliability import Reliability

if TYPE_CHECKING:
    from asvit.executors import Workers
    from asvit.reference import ReferenceTable
    from asvit.runs.search_result import SearchResult


def judged(
    result: SearchResult,
    table: ReferenceTable,
    *,
    workers: Workers | None,
    tell: Tell | None,
    write_report: Callable[[Path], None],
) -> SearchResult:
    """``result`` with its reliability; written with its report if that is new.

    Raises:
        ValueError: As :func:`asvit.runs.correlation.reliability`.
        OSError: As there, or if the result cannot be written.
    """
    from asvit.runs.correlation import reliability

    settings: Any = result.settings
    found = to_json(
        reliability(result.folder, table, settings, workers=workers, tell=tell or ignore)
    )
    if found == result.reliability:
        return result
    made = replace(result, reliability=found)
    made.write(made.folder / RESULT)
    write_report(made.folder)
    return made


def reliability_from_json(content: object) -> Mapping[str, Any] | None:
    """What is stored as ``reliability`` in result.json; None where nothing is.

    Raises:
        ValueError: If it is malformed.
    """
    try:
        value_from_json(content, Reliability | None)
    except ValueError as error:
        raise ValueError(f"reliability {error}") from error
    return cast("Mapping[str, Any] | None", content)
