"""Evolution over the paths of a trained supernet."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

from asvit.core.console import clock, number, percent
from asvit.core.files import write_text
from asvit.core.progress import Progress, Tell, images_told
from asvit.core.run_files import (
    ACCURACIES,
    EVOLUTION_FIGURES,
    INHERITED,
    RETRAINED,
    RETRAINING,
    TRIALS,
)
from asvit.core.settings import check_same_digest, check_same_images, setting
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart, Table
from asvit.runs.folder import RunFiles, newest_run, remove_files
from asvit.runs.run import Run, imported
from asvit.search.supernet_result import (
    Cells,
    EvolutionResult,
    Part,
    PathRow,
    RandomPaths,
    Retrained,
    Winner,
    generations_of,
    write_paths,
)
from asvit.search.supernet_settings import EvolutionSettings
from asvit.training.supernets.settings import PathAccuracies

if TYPE_CHECKING:
    import torch
    from torch import nn

    from asvit.models.psvit_supernet import PSViTSupernet
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
    files = RunFiles(
        "evolution",
        "evolution",
        ACCURACIES,
        (TRIALS, INHERITED, RETRAINED, RETRAINING),
        figures=EVOLUTION_FIGURES,
    )
    journal_type = imported("asvit.search.supernet_result:AccuracyJournal")
    pictures = imported("asvit.report.evolution:pictures")  # imports matplotlib
    details = imported("asvit.report.evolution:details")
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
    device: str = setting(
        "auto", "auto, cpu, cuda, cuda:1, mps, ...", metavar="DEVICE", repeats=False
    )
    file: SupernetFile | None = None  # the supernet, where it is read already

    @classmethod
    def make(cls, preset: str = "default", **given: Any) -> Self:
        """As the base does; without a supernet, with the newest finished one."""
        made = super().make(preset, **given)
        return made if made.supernet else replace(made, supernet=newest_run("supernet"))

    def resolved(self) -> Self:
        """With the limit of multiply-adds that follows from the supernet, unless one was given."""
        if self.settings.max_macs is not None:
            return self
        from asvit.search.supernet_space import SupernetSpace

        origin = self.trained.origin
        most = SupernetSpace(origin.settings).deit_macs(origin.num_classes)
        return replace(self, settings=replace(self.settings, max_macs=most), file=self.trained)

    @cached_property
    def source(self) -> Path:
        """Run folder of the supernet."""
        return Path(self.supernet or "")

    @cached_property
    def trained(self) -> SupernetFile:
        """The supernet, which must be finished."""
        from asvit.training.supernets.file import SupernetFile

        return self.file or SupernetFile.read_finished(self.source)

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

    @cached_property
    def network(self) -> PSViTSupernet:
        """The supernet with its weights, on the device to evaluate on."""
        from asvit.networks import load_state

        made = self.allowed.space.build(self.trained.origin.num_classes, seed=0)
        load_state(made, self.trained.weights, what="the weights of the supernet")
        return made.to(self.where)

    def check(self) -> None:
        """Read the supernet, and find the device."""
        _ = self.allowed, self.where

    def load(self) -> Mapping[str, Any]:
        """The supernet and the kind of device, with the images."""
        _ = self.parts
        return {"supernet": self._origin, "device": self.where.type}

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
        store = super().open()
        what, stored = "on another supernet", store.start_values.get("supernet")
        check_same_digest(self.folder, what, "folder", stored, self._origin)
        return store

    def settled(self, store: AccuracyJournal, result: EvolutionResult) -> bool:
        """Whether all paths are evaluated, and the winner is trained if that is asked for."""
        trained = result.retrained is not None or not self.retrain
        return trained and super().settled(store, result) and (self.folder / TRIALS).exists()

    def execute(self, store: AccuracyJournal, tell: Tell) -> EvolutionResult:
        """Evolve, and then train the winner if that is asked for."""
        import numpy as np

        from asvit.search.supernet_space import ranked
        from proxies.evaluation import seed_for

        settings, space = self.settings, self.allowed.space
        rows = self._evolve(store, tell)
        best = ranked(rows)[0]
        if self.retrain and store.retrained is None:
            self._train_alone(store, best, tell)
        if store.retrained is not None:
            remove_files(self.folder, [RETRAINING])
        winner = Winner(
            architecture=best.architecture,
            path=best.path,
            params=self.allowed.costs(best.cells).params,
            macs=best.macs,
            validation=best.validation,
            test=self._accuracy(store, "test", best.cells),
        )
        self._write(INHERITED, self.network.extract(best.cells), best, test=winner.test)
        generations = generations_of(rows)
        short = len(generations) < settings.generations
        rng = np.random.default_rng(seed_for(settings.seed, "random paths"))
        drawn = [space.draw(rng) for _ in range(settings.random_paths)]
        cost = shlex.join(["asvit", "cost", best.architecture])
        origin = self.trained.origin
        return self.result(
            store,
            {"supernet": self._origin, "images": origin.images, "device": self.where.type},
            space=origin.settings.space,
            winner=winner,
            generations=generations,
            in_window=self._random(store, [row.cells for row in rows if row.generation == 1]),
            anywhere=self._random(store, drawn),
            deit_macs=self.allowed.deit_macs,
            evaluated=len(rows),
            reason="no new path was found any more" if short else "",
            retrained=store.retrained,
            wall_seconds=store.seconds,
            next_command=cost if store.retrained else f"{self.command_line()} --retrain",
        )

    def _evolve(self, store: AccuracyJournal, tell: Tell) -> Sequence[PathRow]:
        """The paths of all generations, or of those up to one without anything new."""
        from asvit.search.supernet_space import ranked

        settings, rows = self.settings, list[PathRow]()
        known, began = 0, time.monotonic()
        for generation in range(1, settings.generations + 1):
            for row in self.allowed.propose(generation, rows):
                fresh = store.get("validation", row.cells) is None
                accuracy = self._accuracy(store, "validation", row.cells)
                rows.append(replace(row, validation=accuracy))
                known += not fresh
                if fresh:
                    best = ranked(rows)[0]
                    tell(
                        Progress(
                            "path",
                            len(rows),
                            settings.population * settings.generations,
                            resumed=known,
                            seconds=time.monotonic() - began,
                            state=f"generation {generation}  best {best.architecture} "
                            f"({percent(best.validation)})",
                            record=rows[-1],
                        )
                    )
            write_text(self.folder / TRIALS, write_paths(rows))
        if not rows:
            raise ValueError(
                f"no random path was found that takes {settings.min_macs:,} to "
                f"{settings.max_macs:,} multiply-adds; allow more with --max-macs"
            )
        return rows

    def _accuracy(self, store: AccuracyJournal, part: Part, path: Cells) -> float:
        """Accuracy of ``path`` with inherited weights, per cent; measured once, and kept."""
        known = store.get(part, path)
        if known is None:
            known = self.allowed.space.accuracy(self.network, path, getattr(self.parts, part))
            store.add(part, path, known)
        return known

    def _random(self, store: AccuracyJournal, paths: Sequence[Cells]) -> RandomPaths:
        """What random paths reach."""
        parts: Sequence[Part] = ("validation", "test")
        found = ([self._accuracy(store, part, path) for path in paths] for part in parts)
        return RandomPaths(*map(PathAccuracies.of, found))

    def _train_alone(self, store: AccuracyJournal, best: PathRow, tell: Tell) -> None:
        """Train the winner from scratch, and keep its weights and the outcome.

        Training is saved as it goes on, so that a kill costs an epoch at most, and of a long one
        a minute.
        """
        from asvit.training.supernets.retraining import train_alone

        winner, settings = best.architecture, self.trained.origin.settings
        state = self.folder / RETRAINING
        trained = train_alone(winner, settings, self.parts, state=state, progress=tell)
        failed = trained.reason is not None
        accuracy = None if failed else trained.accuracy
        self._write(RETRAINED, trained.model, best, test=accuracy)
        store.add_retrained(
            Retrained(
                architecture=winner,
                accuracy=accuracy,
                loss=None if failed else fmean(trained.losses[-settings.steps_per_epoch :]),
                seconds=round(trained.seconds, 3),
                reason=trained.reason or "",
            )
        )

    def _write(self, name: str, model: nn.Module, best: PathRow, *, test: float | None) -> None:
        """Write the weights of the winner, with an accuracy on the test images."""
        from asvit.data import MEAN, STD
        from asvit.networks import Network, WeightsFile

        origin = self.trained.origin
        network = Network(best.architecture, origin.settings.image_size, origin.num_classes)
        facts = {
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "images": origin.images["source"],
            "top1": test,
            "found_by": {"kind": EvolutionResult.kind, "path": best.path},
        }
        WeightsFile(network, model.state_dict(), facts=facts).write(self.folder / name)

    @cached_property
    def _origin(self) -> dict[str, str]:
        return {"folder": str(self.source), "digest": self.trained.digest}

    @classmethod
    def summary(cls, result: EvolutionResult) -> Iterator[SummaryPart]:
        """The winner, the generations, and random paths with the same weights."""
        limit, winner, again = number(result.settings.max_macs), result.winner, result.retrained
        facts: dict[str, object] = {
            "winner": winner.architecture,
            "parameters": winner.params,
            "multiply-adds": f"{number(winner.macs)} of {limit} allowed",
            "validation, inherited weights": percent(winner.validation),
            "test, inherited weights": percent(winner.test),
            "paths": f"{result.evaluated} in {len(result.generations)} generations",
            "space": result.space,
            "supernet": result.provenance["supernet"]["folder"],
        }
        if again is not None:
            facts["test, trained from scratch"] = again.reason or percent(again.accuracy)
        if result.reason:
            facts["ended early"] = result.reason
        yield facts
        columns = ["generation", "paths", "best", "median", "best so far"]
        rows = [list(vars(row).values()) for row in result.generations]
        yield Table(columns, rows, "Generations: validation accuracy, per cent")
        columns = ["paths", "images", "number", "lowest", "median", "highest", "winner"]
        rows = [
            [f"random, {words}", part, *vars(getattr(paths, part)).values(), reached]
            for words, paths in result.random_paths.items()
            for part, reached in (("validation", winner.validation), ("test", winner.test))
        ]
        yield Table(columns, rows, "Beside random paths")
        yield (
            "Accuracy in per cent with the same inherited weights. The winner was chosen by the "
            "validation images, so that only the test images compare fairly."
        )
        yield f"{result.evaluated} paths in {clock(result.wall_seconds)}"


@with_options(EvolutionSettings, EvolutionRun, CallOptions)
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

    Raises:
        ValueError: If the supernet is unfinished, or no path costs as little or as much as asked,
            too.

    Example:
        >>> supernet = asvit.train_supernet(
        ...     train_images=60, validation_images=40, test_images=40, image_size=32, width=24,
        ...     epochs=1, batch_size=30, out="supernet",
        ... )
        >>> result = asvit.evolve_supernet(
        ...     "supernet", population=4, generations=2, keep=2, crossovers=1, mutations=1,
        ...     random_paths=2, out="evolution",
        ... )
        >>> result.winner.path.count("|")
        2
    """
    return EvolutionRun.make(supernet=supernet, **given).run()
