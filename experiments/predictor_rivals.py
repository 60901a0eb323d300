"""How well do other models rank after a few trainings? The second table of docs/predictor.md.

The Gaussian process of ``asvit.Predictor`` and other models get the same features and splits: mean
tau, share of accuracies inside the 90 % interval where the model has one, and processor time of a
fit with its predictions.

Run from a checkout: ``python -m experiments.predictor_rivals``, in minutes.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV

from asvit.predictor.process import NormalScores
from asvit.predictor.validation import Array, Rows, Split, gather_rows, make_split
from asvit.reference import REFERENCES, load_reference
from asvit.statistics.ranks import kendall
from experiments.predictor_table import TRAININGS
from experiments.study import Case, Study, cases, grouped
from experiments.tables import markdown

SPLITS = 10
OURS = "Gaussian process"
MODELS: Mapping[str, Callable[[], object]] = {
    "ridge": lambda: RidgeCV(np.logspace(-2, 4, 25)),
    "random forest": lambda: RandomForestRegressor(200, random_state=0),
    "gradient boosting": lambda: GradientBoostingRegressor(random_state=0),
}


@dataclass(frozen=True)
class Row:
    """A model after so many trainings of a table, in the mean over the splits."""

    model: str
    trainings: int
    reference: str
    tau: float
    inside: float  # share inside the 90 % interval; NaN without intervals
    milliseconds: float


@cache
def rows_of(reference: str) -> Rows:
    """The rows of a table with the default accuracies."""
    return gather_rows(load_reference(reference), None)


def compare(model: str, trainings: int, reference: str) -> Case:
    """A model on the splits that ``asvit.cross_validate`` has, without their fits in its time."""
    rows, taus, inside, seconds = rows_of(reference), [], [], []
    for number in range(SPLITS):
        began = time.process_time()
        split = make_split(rows, trainings, 0, number)
        mean, accuracies = split.mean, rows.accuracies[split.test]
        if model == OURS:
            inside.append(np.mean((split.low <= accuracies) & (accuracies <= split.high)))
        else:
            began = time.process_time()
            mean = predicted(model, rows, split)
        seconds.append(time.process_time() - began)
        taus.append(kendall(mean, accuracies))
    return {
        "tau": round(float(np.nanmean(taus)), 4),
        "inside": round(float(np.mean(inside)), 4) if inside else math.nan,
        "milliseconds": round(1000 * fmean(seconds), 1),
    }


def predicted(model: str, rows: Rows, split: Split) -> Array:
    """Predictions of a model for the test rows, from columns by their mean and deviation."""
    values = rows.values[split.train]
    varied = values.std(axis=0) > 1e-9
    mean, std = values[:, varied].mean(axis=0), values[:, varied].std(axis=0)
    known, new = ((rows.values[own][:, varied] - mean) / std for own in (split.train, split.test))
    scores = NormalScores(rows.accuracies[split.train]).scores
    fitted = MODELS[model]().fit(known, scores)  # type: ignore[attr-defined]
    predictions: Array = fitted.predict(new)
    return predictions


TABLE = Path(__file__).with_name("rivals.csv")
EVERY = cases(model=(OURS, *MODELS), trainings=TRAININGS, reference=REFERENCES)
STUDY = Study(Row, TABLE, EVERY, compare)


def table() -> str:
    """A line for each model, in the mean over the tables; times from the least to the most."""
    lines = []
    for (model,), own in grouped(STUDY.rows(), ["model"]).items():
        by_trainings = list(grouped(own, ["trainings"]).values())
        inside = [fmean(row.inside for row in rows) for rows in by_trainings]
        times = [row.milliseconds for row in own]
        lines.append(
            (
                *(model, *(f"{fmean(row.tau for row in rows):.3f}" for rows in by_trainings)),
                *("–" if math.isnan(share) else f"{share:.2f}" for share in inside),
                f"{min(times):.0f} to {max(times):.0f}",
            )
        )
    columns = [*(f"{what} at {n}" for what in ("τ", "inside") for n in TRAININGS), "ms"]
    return markdown({"model": "l", **dict.fromkeys(columns, "r")}, lines)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())
