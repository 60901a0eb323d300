"""How well do other models rank after a few trainings? The second table of docs/predictor.md.

Run from a checkout: ``python -m experiments.predictor_rivals``. Compares the Gaussian process with
other models on the same features and splits: mean tau, share of accuracies inside the 90 %
interval where the model has one, and processor time of a fit with its predictions. BoTorch is
compared where it is installed.
"""

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV

from asvit.predictor.process import NormalScores, Process
from asvit.predictor.validation import Rows, gather_rows
from asvit.reference import REFERENCES, load_reference
from asvit.reference.statistics import kendall
from experiments.predictor_table import usable
from experiments.tables import markdown

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
#: Features, accuracies and noise of the rows fitted to, features of the others -> mean and, if
#: known, the ends of the 90 % interval.
Model = Callable[[Rows, Indices, Indices], tuple[Array, tuple[Array, Array] | None]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", help="names of tables or CSV files, separated by commas")
    parser.add_argument("--splits", type=int, default=10)
    options = parser.parse_args()
    names = options.reference.split(",") if options.reference else list(REFERENCES)
    columns, rows = compared(names, options.splits)
    print(markdown(dict.fromkeys(columns, "l"), rows))


def compared(names: list[str], splits: int) -> tuple[list[str], list[list[str]]]:
    """One row per model, one column per table and number of trainings."""
    models: dict[str, Model] = {
        "Gaussian process": ours,
        "ridge": by(lambda: RidgeCV(np.logspace(-2, 4, 25))),
        "random forest": by(lambda: RandomForestRegressor(200, random_state=0)),
        "gradient boosting": by(lambda: GradientBoostingRegressor(random_state=0)),
    }
    if find_spec("botorch"):
        models["BoTorch SingleTaskGP"] = botorch
    cells = {model: [model] for model in models}
    columns = ["model"]
    for name in names:
        rows = gather_rows(load_reference(name), None)
        for trainings in usable(rows.accuracies):
            columns.append(f"{name}, {trainings}")
            for model, fit in models.items():
                cells[model].append(judged(fit, rows, trainings, splits))
                print("...", name, trainings, model, cells[model][-1], flush=True)
    return columns, list(cells.values())


def judged(fit: Model, rows: Rows, trainings: int, splits: int) -> str:
    """Mean tau, coverage and time of a model."""
    taus, inside = [], []
    began = time.process_time()
    for number in range(splits):
        order = np.random.default_rng([0, number]).permutation(len(rows.accuracies))
        train, test = np.sort(order[:trainings]), np.sort(order[trainings:])
        mean, ends = fit(rows, train, test)
        accuracies = rows.accuracies[test]
        taus.append(kendall(mean, accuracies))
        if ends is not None:
            inside.append(np.mean((ends[0] <= accuracies) & (accuracies <= ends[1])))
    took = (time.process_time() - began) / splits
    covered = f", {np.mean(inside):.2f}" if inside else ""
    return f"{np.nanmean(taus):.3f}{covered}, {1000 * took:.0f} ms"


def ours(rows: Rows, train: Indices, test: Indices) -> tuple[Array, tuple[Array, Array]]:
    """The predictor."""
    noise = rows.noise(train)
    process = Process().fit(rows.names, rows.values[train], rows.accuracies[train], noise)
    levels = (0.05, 0.5, 0.95)
    low, mean, high = process.quantiles(rows.names, rows.values[test], levels, noise=noise or 0.0)
    return mean, (low, high)


def by(make: Callable[[], object]) -> Model:
    """A model of scikit-learn, on the same columns and scores."""

    def fit(rows: Rows, train: Indices, test: Indices) -> tuple[Array, None]:
        scores = NormalScores(rows.accuracies[train]).scores
        known, new = standardised(rows.values, train, test)
        return make().fit(known, scores).predict(new), None  # type: ignore[attr-defined]

    return fit


def botorch(rows: Rows, train: Indices, test: Indices) -> tuple[Array, tuple[Array, Array]]:
    """BoTorch's usual model with its own priors, on the same columns and scores."""
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.set_num_threads(1)
    scale = NormalScores(rows.accuracies[train])
    known, new = standardised(rows.values, train, test)
    low, wide = known.min(axis=0), np.ptp(known, axis=0)
    noise = rows.noise(train)
    given = {}
    if noise is not None:
        variance = (noise / scale.spread) ** 2
        given["train_Yvar"] = torch.full((len(train), 1), variance, dtype=torch.float64)
    model = SingleTaskGP(
        torch.tensor((known - low) / wide),
        torch.tensor(scale.scores)[:, None],
        outcome_transform=None,
        **given,
    )
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    found = model.posterior(torch.tensor((new - low) / wide), observation_noise=noise is None)
    mean, std = (
        part[:, 0].detach().numpy() for part in (found.mean, found.variance.clamp_min(0).sqrt())
    )
    away = 1.645 * np.hypot(std, (noise or 0.0) / scale.spread)
    low_end, middle, high_end = map(scale.accuracies, (mean - away, mean, mean + away))
    return middle, (low_end, high_end)


def standardised(values: Array, train: Indices, test: Indices) -> tuple[Array, Array]:
    """The columns that vary among the rows fitted to, by their mean and deviation."""
    known = values[train]
    varied = known.std(axis=0) > 1e-9
    mean, std = known[:, varied].mean(axis=0), known[:, varied].std(axis=0)
    return (known[:, varied] - mean) / std, (values[test][:, varied] - mean) / std


if __name__ == "__main__":
    main()
