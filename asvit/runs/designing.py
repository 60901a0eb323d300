"""Designs: from a folder of pictures and limits to a trained, tested and exported network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.files import expanded
from asvit.core.run_files import DESIGNED, MODEL, PICTURES
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart, Table
from asvit.designs.journal import DesignJournal
from asvit.designs.result import DesignResult
from asvit.designs.settings import DesignSettings
from asvit.runs.folder import RunFiles
from asvit.runs.run import Run, imported
from proxies.text import legible

if TYPE_CHECKING:
    from asvit.executors import Workers


@dataclass(kw_only=True)
class DesignRun(Run[DesignSettings, DesignResult, DesignJournal]):
    """Find, train, test and export a network for your pictures, within limits.

    Searches by short trainings, makes what it finds as wide as the limits and the time allow,
    trains it and As-ViT blocks of Swin-T's shape alike, tests both on pictures that were kept
    aside, and exports. Given again, the same command goes on where it was stopped.
    """

    command = "design"
    files = RunFiles("design", "design", DESIGNED, (PICTURES, MODEL, "model.onnx"))
    journal_type = DesignJournal
    algorithm = imported("asvit.runs.algorithms.designing:DesignAlgorithm")
    report = imported("asvit.report.design:write_design_report")
    written = "report.html, model.safetensors, model.onnx, timm, result.json"
    may_change = ("data",)  # to where the same pictures are

    workers: Workers | None = None  # of the search; the result does not depend on them

    def default_name(self) -> str:
        """Named after the pictures."""
        return f"design-{expanded(self.settings.data).name}-seed{self.settings.seed}"

    @classmethod
    def summary(cls, result: DesignResult) -> Iterator[SummaryPart]:
        """The networks, and the difference."""
        columns = ["", "architecture", "params", "multiply-adds", "ms", "accuracy [95 %]"]
        title = f"On {result.test_pictures} pictures that were kept aside, per cent"
        yield Table(columns, result.lines, title=title, left=("", "architecture"))
        yield result.difference_in_words
        if result.hand_made_in_words:
            yield result.hand_made_in_words
        for name, why in result.unreadable.items():
            yield legible(f"could not be read: {name} ({why})")
        for name, why in result.left_out.items():
            yield legible(f"left out of the test: {name} ({why})")


@with_options(DesignSettings, DesignRun, CallOptions)
def design(data: str | Path, *, workers: Workers | None = None, **given: Any) -> DesignResult:
    """Find, train, test and export a network for pictures, within limits.

    The run folder holds the search, the trainings, ``model.safetensors``, ``model.onnx``, the
    folder ``timm``, ``result.json`` and the report. The same call continues a run that was
    stopped; finished stages are not run again.

    Args:
        data: A folder with a folder for each class, or ``train``, ``val`` and ``test`` of these.
        workers: Processes of the search; the result does not depend on them.

    Raises:
        ValueError: If there are too few pictures, or nothing is within the limits, too.

    Example:
        >>> result = asvit.design("pictures", max_params="5M", hours=1)  # doctest: +SKIP
        >>> result.architecture  # doctest: +SKIP
    """
    return DesignRun.make(data=str(data), workers=workers, **given).run()
