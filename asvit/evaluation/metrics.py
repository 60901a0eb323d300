"""Measures of a classifier from its logits on labelled pictures, whose classes match its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_fscore_support

from asvit.core.answers import confusions_of
from asvit.core.estimates import Estimate
from asvit.evaluation.result import CalibrationRow, ClassRow
from asvit.statistics.intervals import balanced_accuracy, proportion
from asvit.training.settings import TOP
from proxies.text import listed, one_line

logger = logging.getLogger(__name__)

BINS = 15  # of probabilities, as in Guo et al. 2017

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

    def losses(self) -> Array:
        """Cross-entropy of each picture, nats."""
        losses: Array = -self._logs[np.arange(len(self.labels)), self.labels]
        return losses

    def confidences(self) -> Array:
        """Probability of the likeliest class of each picture, 0 to 1."""
        shares: Array = np.exp(self._logs.max(axis=1)).clip(max=1.0)
        return shares

    @property
    def _logs(self) -> Array:
        """Logarithms of the probabilities of all classes, ``[pictures, classes]``."""
        logs: Array = log_softmax(self.logits, axis=1)
        return logs

    def values(self) -> dict[str, Any]:
        """The measures, under the names of :class:`asvit.evaluation.result.EvaluationResult`."""
        labels, predicted, size = self.labels, self.predicted, len(self.classes)
        right = labels == predicted
        rows = self.rows()
        balanced = balanced_accuracy([right[labels == at] for at in np.unique(labels)])
        accuracy = proportion(int(right.sum()), len(right))
        calibration = self.calibration()
        values = {
            "pictures": len(labels),
            **_per_cent("accuracy", accuracy),
            **_per_cent("balanced_accuracy", balanced),
            "macro_f1": float(np.mean([row.f1 for row in rows])),
            "loss": float(self.losses().mean()),
            "calibration_error": calibration_error(calibration),
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

    def calibration(self) -> list[CalibrationRow]:
        """Probability and share of right answers in ranges of equal width.

        References:
            Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
        """
        shares, right = self.confidences(), self.labels == self.predicted
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


def calibration_error(rows: Sequence[CalibrationRow]) -> float:
    """Expected calibration error in points: mean distance of the two shares, by pictures."""
    pictures = sum(row.pictures for row in rows)
    return sum(row.pictures * abs(row.accuracy - row.confidence) for row in rows) / pictures


def _per_cent(name: str, estimate: Estimate) -> dict[str, Any]:
    share = estimate.per_cent
    return {name: share.value, f"{name}_interval": share.interval}


def match_classes(
    pictures: Sequence[str], network: Sequence[str], *, has_names: bool, data: str, weights: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The place of each class of the pictures among those of the network, and the names of these.

    Of weights that name none, as many folders are taken in their order, and give the names.

    Args:
        pictures: Names of the classes of the pictures.
        network: Names of the classes of the network, or their numbers.
        has_names: Whether the weights name them.
        data: What the pictures are called in messages.
        weights: What the network is called there.

    Raises:
        ValueError: If the network does not know one of them; the message names them.
    """
    places = {name: place for place, name in enumerate(network)}
    unknown = [name for name in pictures if name not in places]
    if not has_names and len(pictures) == len(network) and [*pictures] != [*network]:
        logger.warning(
            "%s does not name its classes; the %d of %s are taken in their order",
            *(weights, len(pictures), data),
        )
        return np.arange(len(network)), tuple(pictures)
    if unknown:
        names = listed(network) if has_names else f"{len(network)} without names"
        raise ValueError(
            f"{one_line(data)} has classes that {one_line(weights)} does not know: "
            f"{listed(unknown)}; it knows {names}"
        )
    return np.array([places[name] for name in pictures], dtype=np.int64), tuple(network)
