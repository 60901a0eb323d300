"""The family of a network as a feature of the predictor."""

import sys

import numpy as np
import pytest
from scipy.stats import kendalltau

from asvit.predictor import Predictor
from asvit.predictor.features import KIND
from asvit.spaces import load_space

LEVELS = {"resnet": 76.0, "repvit": 66.0, "starnet": 71.0}  # whose choices have the same names


def test_families_rank_better_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    drawn = [(name, load_space(name).sample(rng)) for name in LEVELS for _ in range(8)]
    accuracies = np.array(
        [LEVELS[name] + sum(arch.depths) / 2 + rng.standard_normal() for name, arch in drawn]
    )
    texts = np.array([str(arch) for _, arch in drawn])

    def tau() -> float:
        taus = []
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(len(texts))
            known, rest = order[:12], order[12:]
            fitted = Predictor(32, per_cent=True).fit(texts[known], accuracies[known], 1.0)
            taus.append(kendalltau(fitted.predict(texts[rest])[0], accuracies[rest])[0])
        return float(np.mean(taus))

    with_names = tau()
    module = sys.modules["asvit.predictor.model"]
    features = module.features

    def unnamed(*args: object, **more: object) -> object:
        names, values = features(*args, **more)
        left = [i for i, name in enumerate(names) if not name.startswith(KIND)]
        return [names[i] for i in left], values[:, left]

    monkeypatch.setattr(module, "features", unnamed)
    assert with_names > max(0.5, tau() + 0.05)
