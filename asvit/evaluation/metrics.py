"""Measures of a classifier from its logits on labelled pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_fscore_support

from asvit.core.answers import confusions_of
from asvit.core.estimates import Estimate
from asvit.evaluation.result import CalibrationRow, ClassRow
from asvit.statistics.intervals import balanced_accuracy, proportion
from asvit.training.settings import TOP

BINS = 15  # of probabilities, as in Guo et al. 2017
_TEMPERATURES = (0.05, 20.0)  # that are tried

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """Logits of pictures with their labels.

    Args:
        logits: ``[pictures, classes]``.
        labels: Class of each picture, ``[pictures]``.
        classes: Name of each class.
    """

    logits: Array
    labels: Labels
    classes: Sequence[str]

    @property
    def predicted(self) -> Labels:
        """The likeliest class of each picture."""
        likeliest: Labels = np.argmax(self.logits, axis=1)
        return likeliest

    def log_probabilities(self, temperature: float = 1.0) -> Array:
        """Of all classes, ``[pictures, classes]``, in nats."""
        logs: Array = log_softmax(self.logits / temperature, axis=1)
        return logs

    def losses(self, temperature: float = 1.0) -> Array:
        """Cross-entropy of each picture, nats."""
        logs = self.log_probabilities(temperature)
        losses: Array = -logs[np.arange(len(self.labels)), self.labels]
        return losses

    def confidences(self, temperature: float = 1.0) -> Array:
        """Probability of the likeliest class of each picture, 0 to 1."""
        logs = self.log_probabilities(temperature)
        shares: Array = np.exp(logs.max(axis=1)).clip(max=1.0)
        return shares

    def values(self) -> dict[str, Any]:
        """The measures, under the names of :class:`asvit.evaluation.result.EvaluationResult`."""
        labels, predicted, size = self.labels, self.predicted, len(self.classes)
        right = labels == predicted
        rows = self.rows()
        balanced = balanced_accuracy([right[labels == at] for at in np.unique(labels)])
        accuracy = proportion(int(right.sum()), len(right))
        calibration, temperature = self.calibration(), self.temperature()
        known = math.isfinite(temperature)
        values = {
            "pictures": len(labels),
            **_per_cent("accuracy", accuracy),
            **_per_cent("balanced_accuracy", balanced),
            "macro_f1": float(np.mean([row.f1 for row in rows])),
            "loss": float(self.losses().mean()),
            "calibration_error": calibration_error(calibration),
            "temperature": temperature,
            "calibrated_error": (
                calibration_error(self.calibration(temperature)) if known else math.nan
            ),
            "per_class": rows,
            "calibration": calibration,
            "confusion": confusions_of(
                (self.classes[label], self.classes[taken])
                for label, taken in zip(labels, predicted, strict=True)
            ),
        }
        if size > TOP:
            likeliest = np.argsort(-self.logits, axis=1, kind="stable")[:, :TOP]  # ties as argmax
            values["top5"] = 100 * float((likeliest == labels[:, None]).any(axis=1).mean())
        return values

    def rows(self) -> list[ClassRow]:
        """Precision, recall and F1 of the classes that pictures are of."""
        there = np.unique(self.labels)
        predicted = self.predicted
        shares = precision_recall_fscore_support(
            self.labels, predicted, labels=there, zero_division=np.nan
        )
        rows = []
        for at, precision, recall, f1, support in zip(there, *shares, strict=True):
            count, right = int(support), int(((self.labels == at) & (predicted == at)).sum())
            rows.append(
                ClassRow(
                    label=self.classes[at],
                    pictures=count,
                    taken_for_it=int((predicted == at).sum()),
                    precision=100 * float(precision),
                    recall=100 * float(recall),
                    recall_interval=proportion(right, count).per_cent.interval,
                    f1=100 * float(f1),
                )
            )
        return rows

    def calibration(self, temperature: float = 1.0) -> list[CalibrationRow]:
        """Probability and share of right answers in ranges of equal width.

        References:
            Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
        """
        shares, right = self.confidences(temperature), self.labels == self.predicted
        accuracy, confidence = calibration_curve(right, shares, n_bins=BINS)
        edges = np.linspace(0, 1, BINS + 1)
        places = np.searchsorted(edges[1:-1], shares)  # as scikit-learn divides them
        rows = []
        for place, mean, share in zip(np.unique(places), confidence, accuracy, strict=True):
            own = places == place
            rows.append(
                CalibrationRow(
                    low=100 * float(edges[place]),
                    high=100 * float(edges[place + 1]),
                    pictures=int(own.sum()),
                    confidence=100 * float(mean),
                    accuracy=100 * float(share),
                    accuracy_interval=proportion(
                        int(right[own].sum()), int(own.sum())
                    ).per_cent.interval,
                )
            )
        return rows

    def temperature(self) -> float:
        """The temperature of the lowest loss on these pictures; NaN if it is none of those tried.

        References:
            Guo et al. 2017, arXiv:1706.04599.
        """
        if (self.labels == self.predicted).all():
            return math.nan  # the lower, the better
        low, high = map(math.log, _TEMPERATURES)
        best = minimize_scalar(
            lambda log: float(self.losses(math.exp(log)).mean()), bounds=(low, high)
        )
        at_the_end = min(best.x - low, high - best.x) < 1e-3
        return math.nan if at_the_end else math.exp(best.x)


def calibration_error(rows: Sequence[CalibrationRow]) -> float:
    """Expected calibration error in points: mean distance of the two shares, by pictures."""
    pictures = sum(row.pictures for row in rows)
    return sum(row.pictures * abs(row.accuracy - row.confidence) for row in rows) / pictures


def _per_cent(name: str, estimate: Estimate) -> dict[str, Any]:
    share = estimate.per_cent
    return {name: share.value, f"{name}_interval": share.interval}
