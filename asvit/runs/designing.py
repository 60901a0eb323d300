"""Designs: from a folder of pictures and limits to a trained, tested and exported network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock
from asvit.core.files import expanded
from asvit.core.run_files import DESIGNED, MODEL, PICTURES
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart, Table
from asvit.designs.journal import DesignJournal
from asvit.designs.result import DesignResult
from asvit.designs.settings import DesignSettings
from asvit.runs.folder import RunFiles
from asvit.runs.run import Run, imported

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
    written = "report.html, model.safetensors, model.onnx, timm, result.json"
    may_change = ("data",)  # to where the same pictures are

    workers: Workers | None = None  # of the search; the result does not depend on them

    def default_name(self) -> str:
        """Named after the pictures."""
        return f"design-{expanded(self.settings.data).name}-seed{self.settings.seed}"

    @classmethod
    def summary(cls, result: DesignResult) -> Iterator[SummaryPart]:
        """The networks and the difference, how they were trained, and pictures left out."""
        columns = ["", "architecture", "params", "multiply-adds", "ms", "accuracy [95 %]"]
        title = f"On {result.test_pictures} test pictures, per cent"
        yield Table(columns, result.lines, title)
        yield result.difference_in_words
        if result.hand_made_in_words:
            yield result.hand_made_in_words
        yield (
            f"{result.image_size} px, {len(result.classes)} classes, trained for {result.epochs} "
            f"epochs on {result.train_pictures} pictures; times on {result.measured_on}; "
            f"all in {clock(result.wall_seconds)}"
        )
        if result.prediction:
            yield f"from the search: {result.prediction}"
        for title, reasons in (
            ("Pictures that could not be read", result.unreadable),
            ("Pictures left out of the test, which had changed", result.left_out),
        ):
            if reasons:
                yield Table(["picture", "why"], list(reasons.items()), title)

    @classmethod
    def details(cls, result: DesignResult) -> Iterator[Table]:
        """Equal pictures, and what repeats each stage."""
        if result.equal:
            yield Table(
                ["names"], [[" = ".join(names)] for names in result.equal], "Equal pictures"
            )
        commands = [[command] for command in result.commands]
        yield Table(["command"], commands, "Each stage again")


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
