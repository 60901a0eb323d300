"""Evolution over the paths of a trained supernet."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asvit.core.console import clock, percent, table
from asvit.core.progress import images_told
from asvit.core.run_files import (
    ACCURACIES,
    EVOLUTION_FIGURES,
    INHERITED,
    RETRAINED,
    RETRAINING,
    TRIALS,
)
from asvit.core.settings import check_same_digest, check_same_images, setting
from asvit.runs.folder import RunFiles, newest_run, remove_files
from asvit.runs.run import Run, imported
from asvit.search.supernet_result import EvolutionResult
from asvit.search.supernet_settings import EvolutionSettings

if TYPE_CHECKING:
    import torch
    from rich.console import Console, RenderableType

    from asvit.search.supernet_result import AccuracyJournal
    from asvit.search.supernet_space import AllowedPaths
    from asvit.training.supernets.file import SupernetFile
    from asvit.training.supernets.splits import Splits


@dataclass(kw_only=True)
class EvolutionRun(Run[EvolutionSettings, EvolutionResult, "AccuracyJournal"]):
    """Find the best path of the supernet in the run folder SUPERNET by evolution.

    Paths inherit the supernet's weights; none is trained. Without SUPERNET it takes the newest
    finished one in runs. Given again, the same command continues a run that was stopped, or shows
    the result of a finished one; more generations extend it.
    """

    command = "supernet evolve"
    summary = "Find the best path of a supernet."
    files = RunFiles(
        "evolution",
        "evolution",
        ACCURACIES,
        (TRIALS, INHERITED, RETRAINED, RETRAINING),
        figures=EVOLUTION_FIGURES,
    )
    settings_type = EvolutionSettings
    result_type = EvolutionResult
    journal_type = imported("asvit.search.supernet_result:AccuracyJournal")
    inputs = ("parts",)
    report = imported("asvit.report.evolution:write_evolution_report")  # imports matplotlib
    written = "report.html, trials.csv, result.json, weights, figures"
    may_grow = ("generations", "random_paths")

    supernet: Path | str | None = setting(
        None,
        "Run folder of the supernet; by default the newest finished one in runs.",
        metavar="[SUPERNET]",
        argument=True,
        complete="paths",
    )
    retrain: bool = setting(
        False, "Then train the winner from scratch, with as many steps as the supernet had."
    )
    device: str = setting("auto", "auto, cpu, cuda, ...", metavar="DEVICE", repeats=False)

    @classmethod
    def make(cls, preset: str = "default", **given: Any) -> Self:
        """As the base does; without a supernet, with the newest finished one."""
        made = super().make(preset, **given)
        if made.supernet is None:
            made.supernet = newest_run("supernet")
        return made

    @cached_property
    def source(self) -> Path:
        """Run folder of the supernet."""
        return Path(self.supernet or "")

    @cached_property
    def trained(self) -> SupernetFile:
        """The supernet, which must be finished."""
        from asvit.training.supernets.file import SupernetFile

        return SupernetFile.read_finished(self.source)

    @cached_property
    def allowed(self) -> AllowedPaths:
        """The paths within the limits."""
        from asvit.search.supernet_space import AllowedPaths, SupernetSpace

        origin = self.trained.origin
        return AllowedPaths(SupernetSpace(origin.settings), origin.num_classes, self.settings)

    @cached_property
    def where(self) -> torch.device:
        """The device to evaluate on."""
        from proxies.evaluation import resolve_device

        return resolve_device(self.device)

    @cached_property
    def parts(self) -> Splits:
        """The images that the supernet was trained on, which must not have changed."""
        from asvit.training.supernets.splits import load_splits

        origin = self.trained.origin
        parts = load_splits(origin.settings, progress=images_told(self.progress))
        check_same_images(self.source, origin.images, parts.provenance)
        return parts.to(self.where)

    def check(self) -> None:
        """Read the supernet, and take the limit of multiply-adds from it where none is given."""
        self.settings = self.allowed.settings
        _ = self.where

    def default_name(self) -> str:
        """Named after the supernet and the seed."""
        name = self.source.resolve().name.removeprefix("supernet-")
        return f"evolution-{name}-seed{self.settings.seed}"

    @property
    def title(self) -> str:
        """What is about to be evolved."""
        s = self.settings
        return (
            f"evolving paths of {shlex.quote(str(self.supernet))}: {s.generations} generations of "
            f"{s.population}, seed {s.seed}"
        )

    def open(self) -> AccuracyJournal:
        """The journal of the accuracies, which must be of the same supernet."""
        journal = super().open()
        what = "on another supernet"
        check_same_digest(self.folder, what, "folder", journal.supernet, self._origin)
        return journal

    def settled(self, journal: AccuracyJournal, result: EvolutionResult) -> bool:
        """Whether all paths are evaluated, and the winner is trained if that is asked for."""
        trained = result.retrained is not None or not self.retrain
        return trained and super().settled(journal, result) and (self.folder / TRIALS).exists()

    def start_values(self) -> Mapping[str, Any]:
        """The supernet and the kind of device."""
        return {"supernet": self._origin, "device": self.where.type}

    def execute(self, journal: AccuracyJournal) -> EvolutionResult:
        """Evolve, and then train the winner if that is asked for."""
        from asvit.search.supernet_session import EvolutionSession

        session = EvolutionSession(
            self.folder, self.trained, self.allowed, journal, self.parts, self.tell
        )
        session.evolve()
        if self.retrain and journal.retrained is None:
            session.retrain()
        if journal.retrained is not None:
            remove_files(self.folder, [RETRAINING])
        provenance = self.provenance(
            supernet=self._origin, images=self.trained.origin.images, device=self.where.type
        )
        return session.result(provenance)

    @cached_property
    def _origin(self) -> dict[str, str]:
        return {"folder": str(self.source), "digest": self.trained.digest}

    @classmethod
    def told(cls, result: EvolutionResult, screen: Console) -> Iterator[RenderableType]:
        """The generations, and the winner beside random paths."""
        columns = ["generation", "paths", "best", "median", "best so far"]
        cells = [list(vars(row).values()) for row in result.generations]
        yield ""
        yield table(columns, cells, title="Validation accuracy, inherited weights, per cent")
        winner = result.winner
        rows: list[list[object]] = [["winner", winner.validation, winner.test]]
        for paths, words in (
            (result.in_window, "within the limit"),
            (result.anywhere, "of any cost"),
        ):
            name = f"median of {paths.test.paths} random paths {words}"
            rows.append([name, paths.validation.median, paths.test.median])
        title = "The winner beside random paths with the same weights"
        yield table(["", "validation", "test"], rows, title=title, left=("",), rule=1)
        yield (
            f"winner: {winner.architecture} ({winner.params:,} params, {winner.macs:,} of "
            f"{result.settings.max_macs:,} multiply-adds)"
        )
        if result.retrained is not None:
            told = result.retrained.reason or percent(result.retrained.accuracy)
            yield f"trained from scratch: {told} on the test images"
        yield f"{result.evaluated} paths in {clock(result.wall_seconds)}"
        if result.reason:
            yield f"ended early: {result.reason}"


def evolve_supernet(supernet: Path | str | None = None, **given: Any) -> EvolutionResult:
    """Search a trained supernet for its best path; the same call continues a run.

    Paths inherit the supernet's weights and are ranked by their accuracy on the images that were
    set apart from the training images; none is trained. The run folder holds
    ``accuracies.jsonl`` (every accuracy), ``trials.csv``, ``inherited.safetensors`` (the winner
    with its inherited weights), ``result.json`` and the report. After a stop at most the path in
    flight is evaluated again, and of a training of the winner at most an epoch is trained again,
    of a long one at most a minute. More generations or random paths extend a run.

    Args:
        supernet: Run folder of the supernet; the newest finished one in ``runs`` by default.
        **given: The fields of :class:`asvit.search.supernet_settings.EvolutionSettings`; what
            :mod:`asvit.runs` tells of; ``device``; and ``retrain`` (then train the winner from
            scratch, with as many steps as the supernet had).

    Raises:
        ValueError: If the supernet is unfinished, or no path costs as little or as much as asked,
            too.
    """
    return EvolutionRun.make(supernet=supernet, **given).run()
