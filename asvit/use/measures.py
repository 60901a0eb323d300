"""Measures of a classifier from its logits on labelled pictures, whose classes match its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import precision_recall_fscore_support

from asvit.core.answers import confusions_of
from asvit.core.estimates import Estimate
from asvit.statistics.intervals import balanced_accuracy, proportion
from asvit.training.settings import TOP
from asvit.use.result import CalibrationRow, ClassRow
from proxies.text import listed, one_line

logger = logging.getLogger(__name__)

BINS = 15  # of probabilities, as in Guo et al. 2017

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class Scored(NamedTuple):
    """What a classifier makes of labelled pictures; arrays ``[pictures]``."""

    classes: Sequence[str]
    labels: Labels
    predicted: Labels  # the likeliest class of each picture
    confidences: Array  # its probability, 0 to 1
    losses: Array  # cross-entropy, nats
    in_top: NDArray[np.bool_]  # whether the class is among the :data:`TOP` likeliest


def score(logits: Array, labels: Labels, classes: Sequence[str]) -> Scored:
    """Score logits ``[pictures, classes]`` of pictures with these labels ``[pictures]``."""
    logs = log_softmax(logits, axis=1)
    likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :TOP]  # of equal ones the first
    return Scored(
        classes,
        labels,
        predicted=likeliest[:, 0],
        confidences=np.exp(logs.max(axis=1)).clip(max=1.0),
        losses=-logs[np.arange(len(labels)), labels],
        in_top=(likeliest == labels[:, None]).any(axis=1),
    )


def measures(scored: Scored) -> dict[str, Any]:
    """The measures, under the names of :class:`asvit.use.result.EvaluationResult`."""
    names, labels, predicted = scored.classes, scored.labels, scored.predicted
    right, ranges = labels == predicted, calibration_rows(scored)
    rows = class_rows(labels, predicted, names)
    balanced = balanced_accuracy([right[labels == at] for at in np.unique(labels)])
    pairs = zip(labels, predicted, strict=True)
    top = {"top5": 100 * float(scored.in_top.mean())} if len(names) > TOP else {}
    return {
        "pictures": len(labels),
        **_per_cent("accuracy", proportion(int(right.sum()), len(right))),
        **_per_cent("balanced_accuracy", balanced),
        **top,
        "macro_f1": float(np.mean([row.f1 for row in rows])),
        "loss": float(scored.losses.mean()),
        "calibration_error": calibration_error(ranges),
        "per_class": rows,
        "calibration": ranges,
        "confusion": confusions_of((names[a], names[b]) for a, b in pairs),
    }


def class_rows(labels: Labels, taken: Labels, classes: Sequence[str]) -> list[ClassRow]:
    """Precision, recall and F1 of the classes that pictures are of, from ``[pictures]`` places.

    ``labels`` are the classes of pictures, ``taken`` those that they are taken for.
    """
    there = np.unique(labels)
    shares = precision_recall_fscore_support(labels, taken, labels=there, zero_division=np.nan)
    return [
        ClassRow(
            label=classes[at],
            pictures=int(support),
            taken_for_it=int((taken == at).sum()),
            precision=100 * float(precision),
            **_per_cent("recall", proportion(round(recall * support), int(support))),
            f1=100 * float(f1),
        )
        for at, precision, recall, f1, support in zip(there, *shares, strict=True)
    ]


def calibration_rows(scored: Scored) -> list[CalibrationRow]:
    """Probability and share of right answers in ranges of equal width.

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    shares, right = scored.confidences, scored.labels == scored.predicted
    edges = np.linspace(0, 1, BINS + 1)
    places = np.searchsorted(edges[1:-1], shares)
    rows = []
    for place in np.unique(places):
        own = places == place
        rows.append(
            CalibrationRow(
                low=100 * float(edges[place]),
                high=100 * float(edges[place + 1]),
                pictures=int(own.sum()),
                confidence=100 * float(shares[own].mean()),
                **_per_cent("accuracy", proportion(int(right[own].sum()), int(own.sum()))),
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

    ``network`` has the names of its classes, or their numbers where the weights have no names;
    ``data`` and ``weights`` are what pictures and network are called in messages.
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
