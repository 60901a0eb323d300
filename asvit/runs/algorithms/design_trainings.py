"""The trainings of a design: of networks of the last round, on fractals, and of the winner."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from asvit.core.progress import Progress, ignore
from asvit.core.run_files import PRETRAINED_WEIGHTS
from asvit.data import TrainingSets
from asvit.designs import fractals
from asvit.designs.last_round import LastRound
from asvit.designs.recipe import (
    VALIDATION_SHARE,
    balance_of,
    preparation_of,
    recipe_for,
    recipe_of,
    strength_for,
    tuning_of,
)
from asvit.designs.stages import PRETRAINED, Entrant, TrainingOutcome
from asvit.runs.algorithms.training import plan
from asvit.runs.run_folder import RunFolder
from asvit.runs.training import TRAIN
from asvit.spaces.timm_models import PREFIX
from asvit.training.loaders import open_sets
from asvit.training.metrics import seconds_of_an_epoch
from asvit.training.trainer import Diverged
from proxies.messages import first_line

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LAST_EPOCHS = 0.1  # share of the last epochs whose accuracies decide the last round


@dataclass(frozen=True)
class Trainings:
    """Makes the runs that train networks of a design, each in a folder of its stage."""

    last_round: LastRound
    folder: Path
    data: str  # the list of the pictures, as runs name it
    stage_options: Callable[[str], Mapping[str, Any]]  # folder and progress of a stage's run
    # Pictures of runs that were timed; opening them takes seconds.
    _timed: dict[tuple[str, str | None], TrainingSets] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def finalist(
        self,
        name: str,
        epochs: int,
        *,
        hours: float | None = None,
        warm: bool = False,
    ) -> RunFolder[Any, Any]:
        """The training of a network of the last round, on four fifths of the pictures.

        A ``warm`` one begins with the weights of its training on fractals.
        """
        options = {**self._tuning(name), "hours": hours}
        if name in PRETRAINED:
            options |= {"weights": str(self.pretrained_weights(name)), "new_head": True}
        elif warm:
            options |= self._weights_of_fractals(name)
        return self._of(name, epochs, name, **options)

    def on_fractals(
        self, name: str, pictures: int, epochs: int, hours: float | None
    ) -> RunFolder[Any, Any]:
        """The training of a network of the last round on so many fractals, for ``hours``."""
        return self._of(
            name,
            epochs,
            fractals.folder_of(name),
            data=fractals.DATA,
            hours=hours,
            **recipe_for(pictures),
            fit="crop",
            train_images=pictures,
            validation_images=fractals.CLASSES,
        )

    def winner(self) -> RunFolder[Any, Any]:
        """The training of the winner on all pictures, from its weights in the last round.

        Where these do not tell how it will end, it begins as it did there: a whole schedule of
        few updates leaves weights that learn more slowly than fresh ones.
        """
        results = self.last_round.results
        choice, pictures = results.choice, results.pictures
        winner, weights = choice.winner, dict[str, Any]()
        raced = winner in self.last_round.entrants
        if winner in PRETRAINED or (raced and self.last_round.is_conclusive(winner)):
            weights = {"weights": str(self.folder / winner)}
        elif winner in results.epochs.fractals:
            weights = self._weights_of_fractals(winner)
        classes = len(pictures.classes)
        return self._of(
            winner,
            choice.epochs,
            "training",
            **self._tuning(winner),
            **weights,
            hours=choice.hours,
            train_on_validation=True,
            # Their accuracy says nothing any more. A part for it may have fewer.
            validation_images=min(classes, pictures.validation or classes),
        )

    def pace(
        self, text: str, side: int, *, folder: str = "training", data: str | None = None
    ) -> tuple[float, int]:
        """Seconds and updates of an epoch of the training of a network, timed."""
        options = self.stage_options(folder)
        tell = options.get("progress", ignore)
        tell(Progress("network", 0, None, state=f"timing {text} at {side} px"))
        run = self._make(text, side, 2, folder, data=data)
        if (folder, data) not in self._timed:
            self._timed[folder, data] = open_sets(run.settings, quiet=True)
        planned = plan(run, self._timed[folder, data])
        return float(planned["time"]["epoch"]), planned["steps_per_epoch"]

    def plan(self, name: str) -> dict[str, Any]:
        """What the training of a network of the last round would do, with its pace."""
        return plan(self.finalist(name, 2))

    def pretrained_weights(self, name: str) -> Path:
        """The file of the weights that a pretrained network starts from."""
        return self.folder / PRETRAINED_WEIGHTS[PRETRAINED.index(name)]

    def _weights_of_fractals(self, name: str) -> dict[str, Any]:
        return {"weights": str(self.folder / fractals.folder_of(name)), "new_head": True}

    def _tuning(self, name: str) -> dict[str, Any]:
        """The recipe of a network with weights from elsewhere, which it should not unlearn.

        Weights of a few thousand pictures take the usual one: ResNets that were trained on
        fractals came out worse at a half and a quarter of it, on drawn pictures and on digits.
        """
        source = self.last_round.network(name).pretrained
        named = source and self.last_round.settings.architecture is not None
        if not (named or source.startswith(PREFIX)):
            return {}
        return dict(tuning_of(self.last_round.results.pictures))

    @property
    def _epochs(self) -> int | None:
        """About how many the training of the winner has, where they are planned."""
        results = self.last_round.results
        return results.plan.epochs if "plan" in results else None

    def _of(self, name: str, epochs: int, folder: str, **options: Any) -> RunFolder[Any, Any]:
        """A training of a network of the last round."""
        text, side = self.last_round.network(name).architecture, self.last_round.side
        return self._make(text, side, epochs, folder, **options)

    def _make(
        self,
        text: str,
        side: int,
        epochs: int,
        folder: str,
        *,
        data: str | None = None,
        **options: Any,
    ) -> RunFolder[Any, Any]:
        s, pictures = self.last_round.settings, self.last_round.results.pictures
        return TRAIN.make(
            architecture=text,
            data=data or self.data,
            held_out=VALIDATION_SHARE,
            balance=balance_of(s, pictures),
            image_size=side,
            recipe="small",
            epochs=epochs,
            **{
                **recipe_of(pictures),
                **strength_for(self._epochs, side),
                **preparation_of(pictures),
                **options,
            },
            seed=s.seed,
            device=s.device,
            quiet=True,  # the list has named them
            **self.stage_options(folder),
        )


def unless_it_fails(network: Entrant, work: Callable[[], T], *, alone: bool) -> T | None:
    """What a training of the last round comes to; None where it fails, as it would again.

    A network that is ``alone`` cannot drop out.
    """
    try:
        return work()
    except (Diverged, MemoryError) as error:
        if alone:
            raise
        logger.warning(
            "%s drops out of the last round: %s",
            *(network.architecture, first_line(error).partition(";")[0]),
        )
        return None


def train(run: RunFolder[Any, Any]) -> TrainingOutcome:
    """Train a network: sizes, command, accuracy over the last epochs, seconds of an epoch."""
    result = run.run()
    last = result.history[-max(1, round(_LAST_EPOCHS * len(result.history))) :]
    return TrainingOutcome(
        params=result.params,
        macs=result.macs,
        command=result.provenance["command"],
        epochs=len(result.history),
        validation=statistics.fmean(row.score for row in last),
        epoch_seconds=seconds_of_an_epoch(result.history),
        run_seconds=result.wall_seconds,
    )
