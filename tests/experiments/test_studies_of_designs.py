"""Studies of parts, families and designs: what they train at their smallest, and their tables."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_script import table_cells

from asvit.architectures.genotype import Genotype
from asvit.core.run_files import MODEL
from asvit.networks import WeightsFile
from asvit.spaces import build
from experiments import (
    compare_parts,
    compare_resnets,
    study_balance,
    study_designs,
    study_mended,
    study_pretraining,
)
from experiments.tasks import TASKS, Task
from proxies.counts import count

TINY = "timm:resnet10t(channels=[4,8,16,32],layers=[1,1,1,1],stem_width=4)"


def tiny_task(name: str) -> tuple[Task, Any]:
    few = (100, 100) if name == "hard-fractals" else (40, 20)  # of each class one at least
    task = replace(TASKS[name], train=few[0], test=few[1])
    return task, task.load(Path("pictures") / name)


def test_designs_are_compared_by_seeds_processors_and_sets_that_both_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = "10 M multiply-adds"
    row = partial(study_designs.Row, architecture="", seconds=1.0)
    rows = [row("drawn-300", limit, "design", seed, accuracy=80.0 + seed) for seed in range(3)]
    others = enumerate((78.0, 78.8, 80.2))
    rows += [row("drawn-300", limit, "resnet", seed, accuracy=value) for seed, value in others]
    rows += [row("digits", limit, "design", seed, accuracy=90.0 + seed) for seed in range(3)]
    rows += [row("digits", limit, "resnet", seed, accuracy=91.0) for seed in range(2)]
    rows += [row("digits", limit, "resnet", 2, accuracy=50.0, processor="a slow one")]
    rows += [row("digits", limit, "swin", 0, accuracy=50.0)]
    rows += [row("digits", "1.5 M parameters", "resnet", 0, accuracy=0.0)]
    monkeypatch.setattr(study_designs.Study, "rows", lambda _: rows)
    header, _, *cells = table_cells(study_designs.ahead())
    assert header[1:] == ["drawn-300", "digits", "all"]
    assert [line[0] for line in cells] == ["resnet", "swin"]
    # 2, 2.2 and 1.8: t = 4.3; -1 and 0 on digits, two seeds: t = 12.7.
    assert cells[0][1] == "**+2.0 (+1.5 to +2.5)**"
    assert cells[0][2] == "−0.5 (−6.9 to +5.9)"
    # On average over both sets, of standard errors 0.12 and 0.5: t = 10.1, of 1.1 degrees.
    assert cells[0][3] == "+0.8 (−1.8 to +3.3)"
    _, *nothing = study_designs.ahead("1.5 M parameters").splitlines()  # no design within it yet
    assert len(nothing) == 1
    assert cells[1][1:] == ["", "+40.0", ""]


def test_a_network_made_by_hand_is_trained_for_the_time_of_a_design(tmp_path: Path) -> None:
    tiny_task("drawn-300")
    data = Path("pictures/drawn-300")
    options = {"pictures": 40, "classes": 5, "image_size": 32, "seed": 0}
    trained = study_designs.train_for(0.5, TINY, data / "train", tmp_path / "run", **options)
    each = [row.seconds for row in trained.history]
    assert 1 <= len(each) < trained.settings.epochs  # one beside much else
    assert sum(each) <= 4 * 0.5 + 2 * max(each)
    assert trained.settings.train_on_validation
    facts = WeightsFile.read(tmp_path / "run" / MODEL).facts
    assert (facts["top1"], facts["train_on_validation"]) == (None, True)
    assert 0 <= study_designs.test(tmp_path / "run", data / "test") <= 100


def test_parts_are_those_of_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_parts, "load_task", tiny_task)
    monkeypatch.setitem(compare_parts.SETS, "digits", (2, 300_000, {}))
    found: Any = compare_parts.train("digits", "conv, linear, mixing=ffn", 1)
    parts = Genotype.parse(found["architecture"])
    assert (parts.stem, parts.head, parts.mixing, parts.init) == ("conv", "linear", "ffn", "width")
    assert 0 <= found["accuracy"] <= 100


@pytest.mark.parametrize("name", compare_resnets.NETWORKS)
def test_residual_networks_are_as_wide_as_the_limit_allows(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(compare_resnets, "MACS", 1_000_000)
    compare_resnets.widest.cache_clear()
    text, macs = compare_resnets.widest(name, 32, 10)
    compare_resnets.widest.cache_clear()
    assert count(build(text, 32, 10), 32).macs == macs
    assert 400_000 < macs <= 1_000_000


def watch_fits(study: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any, Any]]:
    """Recipe, weights before and weights after every training of a study."""
    fits, fit = list[tuple[Any, Any, Any]](), study.fit

    def watched(network: Any, train: Any, test: Any, recipe: Any, *, seed: int) -> Any:
        before = {name: one.clone() for name, one in network.state_dict().items()}
        fitted = fit(network, train, test, recipe, seed=seed)
        fits.append((recipe, before, network.state_dict()))
        return fitted

    monkeypatch.setattr(study, "load_task", tiny_task)
    monkeypatch.setattr(study, "STEPS", 1)
    monkeypatch.setattr(study, "fit", watched)
    return fits


def test_a_training_after_fractals_starts_with_their_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fits = watch_fits(study_pretraining, monkeypatch)
    monkeypatch.setitem(study_pretraining.SETS, "digits, 200", ("digits", 20, 1))
    study_pretraining._trained.cache_clear()
    row: Any = study_pretraining.train("digits, 200", "resnet", "fractals, rate / 4", 1)
    study_pretraining._trained.cache_clear()
    (first, _, trained), (then, start, _) = fits
    changed = {name for name in start if not torch.equal(start[name], trained[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert (then.learning_rate, then.crop_scale) == (first.learning_rate / 4, 0.35)
    assert not then.flip
    assert 0 <= row["accuracy"] <= 100


def test_classes_of_a_study_of_balance_shrink_by_a_factor_and_are_balanced_as_its_case_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = torch.arange(3).repeat(100)
    chosen = study_balance.uneven(labels, 3, 50)
    assert labels[chosen].bincount().tolist() == [50, 16, 5]
    assert len(set(chosen.tolist())) == 71
    fits = watch_fits(study_balance, monkeypatch)
    row: Any = study_balance.train("digits", "resnet", "sampling", 1)
    assert all(0 <= row[name] <= 100 for name in ("balanced", "as_trained"))
    assert [(recipe.balance, recipe.flip) for recipe, *_ in fits] == [("sampling", False)]


def test_tau_within_and_between_families_counts_each_pair_once() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 12))
    family = np.repeat([0, 1, 2], 4)
    same = family[:, None] == family
    for pairs in (same & ~np.eye(12, dtype=bool), ~same):
        agree = [
            np.sign(x[i] - x[j]) * np.sign(y[i] - y[j])
            for i in range(12)
            for j in range(i)
            if pairs[i, j]
        ]
        found = study_mended.tau(x, y, pairs, [str(one) for one in family])
        assert found.value == pytest.approx(np.mean(agree))
        assert found.interval.low < found.value < found.interval.high
