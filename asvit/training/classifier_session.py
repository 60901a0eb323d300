"""The training of a classifier in a run folder: its weights, hours and predictions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from asvit.core.answers import write_answers
from asvit.core.run_files import ANSWERS, BEST, MODEL, PREDICTIONS
from asvit.data import LabelledImages
from asvit.data.preparation import shown_channels
from asvit.networks import Network, WeightsFile
from asvit.training.classification import Classification
from asvit.training.metrics import EpochRow, seconds_of_an_epoch
from asvit.training.predictions import predict, predictions_of
from asvit.training.session import Session


@dataclass(eq=False, kw_only=True)
class ClassifierSession(Session[EpochRow]):
    """Trains a classifier, and writes its best weights beside the checkpoint."""

    network: Network
    images: LabelledImages  # to validate on
    facts: Mapping[str, Any] = field(default_factory=dict)  # to store with the weights

    @property
    def best(self) -> EpochRow | None:
        """The epoch with the best accuracy at the network's own tokens."""
        task = self._classification
        last = task.settings.epochs - 1
        rows = [row for row in self.history if task.tokens(row.epoch - 1) == task.tokens(last)]
        return max(rows, key=lambda row: (row.best_score, -row.epoch), default=None)

    def plan_again(self) -> None:
        """As many epochs as are left of the hours, at the pace of the last ones."""
        hours = self.origin.settings.hours
        if hours is None:
            return
        left = 3600 * hours - self.seconds
        self.plan(len(self.history) + round(left / seconds_of_an_epoch(self.history)))

    def plan(self, epochs: int) -> None:
        """Train for so many epochs in all, or for those of the settings if they are fewer."""
        least, most = max(1, len(self.history)), self.origin.settings.epochs
        # The processes may have timed otherwise.
        self.total = self.processes.gather(max(least, min(most, epochs)))[0]
        self.trainer.plan(self.total)

    def write_outputs(self) -> None:
        """Write the metrics, and the best weights if they are the current ones."""
        if self.best is self.history[-1]:
            self._weights(self.history[-1]).write(self.folder / BEST)
        super().write_outputs()

    def finish(self) -> None:
        """Write the answers to the validation images, then the network."""
        task, last, images = self._classification, self.history[-1], self.images
        task.begin(last.epoch - 1, self.trainer.networks)
        network = self.trainer.networks[-1 if last.average_is_better else 0]
        precision = task.precision
        answers = predict(network, task.validation, images, self.processes, precision=precision)
        bad = set[str]().union(*self.processes.gather(set(task.validation.bad)))
        if not self.processes.first:
            return
        shown = shown_channels(images.kind)
        predictions_of(images.classes, answers, images.picture, shown=shown).write(
            self.folder / PREDICTIONS
        )
        # Of an unreadable picture, the answer is about the one that took its place. One to train
        # on may have the same name as a good one here.
        write_answers(self.folder / ANSWERS, [one for one in answers if one.image not in bad])
        self._weights(last).write(self.folder / MODEL)

    @property
    def saved(self) -> dict[str, float] | None:
        """Shares of the training that coarser tokens save, as in the result."""
        return self._classification.saved

    @property
    def _classification(self) -> Classification:
        return cast("Classification", self.task)

    def _weights(self, row: EpochRow) -> WeightsFile:
        """The current network, or its moving average if that is better."""
        state, seen = self.trainer.state(), self.origin.settings.train_on_validation
        facts = {
            **self.facts,
            "epochs": self.total,
            "epoch": row.epoch,
            "top1": None if seen else row.best_top1,
            **({"train_on_validation": True} if seen else {}),
            **({} if seen or row.balanced is None else {"balanced_accuracy": row.best_score}),
            "weights": "average" if row.average_is_better else "trained",
            "tokens": row.tokens,
        }
        weights = state.average if row.average_is_better else state.weights
        return WeightsFile(self.network, weights, self.origin.classes, facts)
