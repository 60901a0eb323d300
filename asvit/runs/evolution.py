"""Evolution over the paths of a trained supernet."""

from __future__ import annotations

import shlex
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asvit._files import write_text
from asvit._run_files import ACCURACIES, INHERITED, RETRAINED, RETRAINING, SUPERNET_WEIGHTS, TRIALS
from asvit.console import clock, percent, table
from asvit.progress import Progress, images_told
from asvit.runs.folder import EVOLUTION, newest_run, remove_files
from asvit.runs.run import Run
from asvit.search.supernet_result import (
    EvolutionResult,
    PathRow,
    RandomPaths,
    Winner,
    generations_of,
    write_paths,
)
from asvit.search.supernet_settings import EvolutionSettings
from asvit.settings import ELSEWHERE, setting
from asvit.training.supernets.result import PathAccuracies
from proxies.messages import one_line

if TYPE_CHECKING:
    import torch
    from rich.console import Console
    from torch import nn

    from asvit.models.psvit_supernet import PSViTSupernet
    from asvit.search.supernet_evolution import Candidate
    from asvit.search.supernet_evolution import Path as Cells
    from asvit.search.supernet_journal import AccuracyJournal, Part
    from asvit.search.supernet_space import AllowedPaths, SupernetSpace
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
    files = EVOLUTION
    settings_type = EvolutionSettings
    result_type = EvolutionResult
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
        """The supernet."""
        return read_supernet(self.source)

    @cached_property
    def space(self) -> SupernetSpace:
        """The space of the supernet."""
        from asvit.search.supernet_space import SupernetSpace

        return SupernetSpace(self.trained.origin.settings)

    @cached_property
    def allowed(self) -> AllowedPaths:
        """The paths within the limits."""
        from asvit.search.supernet_space import AllowedPaths

        return AllowedPaths(self.space, self.trained.origin.num_classes, self.settings)

    @cached_property
    def where(self) -> torch.device:
        """The device to evaluate on."""
        from proxies.evaluation import resolve_device

        return resolve_device(self.device)

    @cached_property
    def parts(self) -> Splits:
        """The images that the supernet was trained on, which must not have changed."""
        from asvit.settings import check_same_images
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

    def prepare(self) -> None:
        """Load the images."""
        _ = self.parts

    def open(self) -> AccuracyJournal:
        """The journal of the accuracies, which must be of the same supernet."""
        from asvit.search.supernet_journal import AccuracyJournal

        journal = AccuracyJournal(self.folder / ACCURACIES)
        before, now = journal.supernet, self._origin
        if before is not None and before["digest"] != now["digest"]:
            raise ValueError(
                f"run folder {self.folder} was started on another supernet: "
                f"{one_line(before['folder'])}, digest {one_line(before['digest'][:12])} (now "
                f"{now['folder']}, digest {now['digest'][:12]}); {ELSEWHERE}"
            )
        return journal

    def stored_settings(self, journal: AccuracyJournal) -> EvolutionSettings | None:
        """What the run was started with."""
        return journal.settings

    def settled(self, journal: AccuracyJournal, result: EvolutionResult) -> bool:
        """Whether all paths are evaluated, and the winner is trained if that is asked for."""
        trained = result.retrained is not None or not self.retrain
        return trained and super().settled(journal, result) and (self.folder / TRIALS).exists()

    def begin(self, journal: AccuracyJournal) -> None:
        """Check the device, and keep it."""
        self.check_same(device=(journal.device, self.where.type))
        journal.start(self.settings, supernet=self._origin, device=self.where.type)

    def execute(self, journal: AccuracyJournal) -> EvolutionResult:
        """Evolve, and then train the winner if that is asked for."""
        session = _Session(self, journal)
        session.evolve()
        if self.retrain and journal.retrained is None:
            session.retrain()
        if journal.retrained is not None:
            remove_files(self.folder, [RETRAINING])
        return session.result()

    @cached_property
    def _origin(self) -> dict[str, str]:
        return {"folder": str(self.source), "digest": self.trained.digest}

    @classmethod
    def write_report(cls, folder: Path) -> list[Path]:
        """Write figures and report.html."""
        from asvit.report import write_evolution_report  # matplotlib

        return write_evolution_report(folder)

    @classmethod
    def show(cls, result: EvolutionResult, screen: Console) -> None:
        """The generations, the winner beside random paths, and what to type next."""
        columns = ["generation", "paths", "best", "median", "best so far"]
        cells = [list(vars(row).values()) for row in result.generations]
        screen.print()
        screen.print(
            table(columns, cells, title="Validation accuracy, inherited weights, per cent")
        )
        winner = result.winner
        rows: list[list[object]] = [["winner", winner.validation, winner.test]]
        for paths, words in (
            (result.in_window, "within the limit"),
            (result.anywhere, "of any cost"),
        ):
            name = f"median of {paths.test.paths} random paths {words}"
            rows.append([name, paths.validation.median, paths.test.median])
        title = "The winner beside random paths with the same weights"
        screen.print(table(["", "validation", "test"], rows, title=title, left=("",), rule=1))
        screen.print(
            f"winner: {winner.architecture} ({winner.params:,} params, {winner.macs:,} of "
            f"{result.settings.max_macs:,} multiply-adds)"
        )
        if result.retrained is not None:
            told = result.retrained.reason or percent(result.retrained.accuracy)
            screen.print(f"trained from scratch: {told} on the test images")
        screen.print(f"{result.evaluated} paths in {clock(result.wall_seconds)}")
        if result.reason:
            screen.print(f"ended early: {result.reason}")
        screen.print(
            f"folder: {result.folder} (report.html, trials.csv, result.json, weights, figures)"
        )
        screen.print(f"next:   {result.next_command}")


class _Session:
    """One session of an evolution, from what earlier ones have left to its end."""

    def __init__(self, run: EvolutionRun, journal: AccuracyJournal) -> None:
        from asvit.networks import load_state

        trained = run.trained
        self._run = run
        self._training = trained.origin.settings
        self._num_classes = trained.origin.num_classes
        self._journal = journal
        self._candidates: list[Candidate] = []
        self._supernet: PSViTSupernet = run.space.build(self._num_classes, seed=0)
        load_state(self._supernet, trained.weights, what="the weights of the supernet")
        self._supernet.to(run.where)

    def evolve(self) -> None:
        """Go through all generations, or up to one without anything new.

        Raises:
            ValueError: If the first one is empty.
        """
        from asvit.search.supernet_evolution import Candidate

        settings, evolution = self._run.settings, self._run.allowed.evolution()
        known, began = 0, time.monotonic()
        for generation in range(settings.generations):
            for one in evolution.propose(generation, self._candidates):
                fresh = self._journal.get("validation", one.path) is None
                fitness = self._accuracy("validation", one.path)
                self._candidates.append(Candidate(**vars(one), fitness=fitness))
                known += not fresh
                if fresh:
                    best = self._best
                    self._run.tell(
                        Progress(
                            "path",
                            len(self._candidates),
                            settings.population * settings.generations,
                            resumed=known,
                            seconds=time.monotonic() - began,
                            state=f"generation {generation + 1}  best {best.architecture} "
                            f"({percent(best.fitness)})",
                            record=self._candidates[-1],
                        )
                    )
            rows = [PathRow.of(number, one) for number, one in enumerate(self._candidates)]
            write_text(self._run.folder / TRIALS, write_paths(rows))
        if not self._candidates:
            raise ValueError(
                f"no random path was found that takes {settings.min_macs:,} to "
                f"{settings.max_macs:,} multiply-adds; allow more with --max-macs"
            )

    def retrain(self) -> None:
        """Train the winner from scratch, and keep its weights and the outcome.

        Training is saved as it goes on, so that a kill costs an epoch at most, and of a long one
        a minute.
        """
        from asvit.search.supernet_journal import Retrained
        from asvit.training.supernets.retraining import train_alone

        trained = train_alone(
            self._best.architecture,
            self._training,
            self._run.parts,
            state=self._run.folder / RETRAINING,
            progress=self._run.tell,
        )
        accuracy = None if trained.reason else trained.accuracy
        last = trained.losses[-self._training.steps_per_epoch :]
        self._write(RETRAINED, trained.model, test=accuracy)
        self._journal.add_retrained(
            Retrained(
                architecture=self._best.architecture,
                accuracy=accuracy,
                loss=None if trained.reason else statistics.fmean(last),
                seconds=round(trained.seconds, 3),
                reason=trained.reason,
            )
        )

    def result(self) -> EvolutionResult:
        """The result, when all generations are through."""
        import numpy as np

        from proxies.evaluation import seed_for

        run, best, journal = self._run, self._best, self._journal
        first = [one.path for one in self._candidates if one.generation == 0]
        generations = generations_of(self._candidates)
        rng = np.random.default_rng(seed_for(run.settings.seed, "random paths"))
        anywhere = [run.space.draw(rng) for _ in range(run.settings.random_paths)]
        winner = Winner(
            architecture=best.architecture,
            path="|".join(best.path),
            params=run.allowed.costs(best.path).params,
            macs=best.macs,
            validation=best.fitness,
            test=self._accuracy("test", best.path),
        )
        self._write(INHERITED, self._supernet.extract(best.path), test=winner.test)
        short = len(generations) < run.settings.generations
        cost = shlex.join(["asvit", "cost", best.architecture])
        return EvolutionResult(
            folder=run.folder,
            space=self._training.space,
            winner=winner,
            generations=generations,
            in_window=self._summary(first),
            anywhere=self._summary(anywhere),
            deit_macs=run.allowed.deit_macs,
            evaluated=len(self._candidates),
            reason="no new path was found any more" if short else "",
            retrained=journal.retrained,
            wall_seconds=journal.seconds,
            settings=run.settings,
            provenance=run.provenance(
                supernet=run._origin,
                images=dict(run.trained.origin.images),
                device=run.where.type,
            ),
            next_command=f"{run.command_line()} --retrain" if journal.retrained is None else cost,
        )

    @property
    def _best(self) -> Candidate:
        from asvit.search.supernet_evolution import ranked

        return ranked(self._candidates)[0]

    def _accuracy(self, part: Part, path: Cells) -> float:
        """Accuracy of ``path`` with inherited weights, per cent; measured once, and kept."""
        known = self._journal.get(part, path)
        if known is not None:
            return known
        parts = self._run.parts
        images = parts.validation if part == "validation" else parts.test
        accuracy = self._run.space.accuracy(self._supernet, path, images)
        self._journal.add(part, path, accuracy)
        return accuracy

    def _summary(self, paths: Sequence[Cells]) -> RandomPaths:
        validation = PathAccuracies.of([self._accuracy("validation", path) for path in paths])
        return RandomPaths(
            validation, PathAccuracies.of([self._accuracy("test", path) for path in paths])
        )

    def _write(self, name: str, model: nn.Module, *, test: float | None) -> None:
        from asvit.data import MEAN, STD
        from asvit.networks import Network, WeightsFile

        best = self._best
        network = Network(best.architecture, self._training.image_size, self._num_classes)
        facts = {
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "images": self._run.trained.origin.images["source"],
            "top1": test,
            "found_by": {"kind": EvolutionResult.kind, "path": "|".join(best.path)},
        }
        WeightsFile(network, model.state_dict(), facts=facts).write(self._run.folder / name)


def read_supernet(folder: Path) -> SupernetFile:
    """The finished supernet in a run folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is unfinished, cannot be read, or has weights that are infinite or NaN.
    """
    from asvit.training.state import check_finite
    from asvit.training.supernets.file import SupernetFile

    trained = SupernetFile.read(folder / SUPERNET_WEIGHTS)
    if not trained.finished:
        steps = trained.origin.settings.recipe.steps
        raise ValueError(
            f"the supernet in {folder} is unfinished, {trained.steps} of {steps} steps; the same "
            "asvit supernet train goes on with it"
        )
    check_finite(trained.weights, what=f"the weights of the supernet in {folder}")
    return trained


def evolve_supernet(supernet: Path | str | None = None, **given: Any) -> EvolutionResult:
    """Search a trained supernet for its best path; the same call continues a run.

    Paths inherit the supernet's weights and are ranked by their accuracy on the images that were
    set apart from the training images; none is trained. The run folder holds
    ``accuracies.jsonl`` (every accuracy), ``trials.csv``, ``inherited.safetensors`` (the winner
    with its inherited weights), ``result.json`` and the report. Stopped at any point, even by
    ``kill -9``, the run continues to the identical winner; at most the path in flight is
    evaluated again, and of a training of the winner at most an epoch is trained again, of a long
    one at most a minute. More generations or random paths than before extend it.

    Args:
        supernet: Run folder of the supernet; the newest finished one in ``runs`` by default.
        **given: ``out`` (by default ``runs/evolution-SPACE-SIZEpx-seedN-seedM``), ``device``,
            ``retrain`` (then train the winner from scratch, with as many steps as the supernet
            had), ``progress``, ``fresh`` and ``preset``: see :class:`EvolutionRun`; and the
            fields of :class:`asvit.search.supernet_settings.EvolutionSettings`.

    Returns:
        The result, as in result.json.

    Raises:
        ValueError: If a setting is not allowed, the supernet is unfinished, no path costs as
            little or as much as asked, or the folder's run has other settings or is in use.
        OSError: If there is no supernet, the folder cannot be written or images cannot be found.
        TypeError: If there is no such setting.
    """
    return EvolutionRun.make(supernet=supernet, **given).run()
