"""What a table is made of: what is drawn, its rows, its spread and noise, and its file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from torch import nn

import asvit
from asvit.reference import ReferenceTable, load_reference
from asvit.reference.build import (
    Outcome,
    Training,
    accuracies_in_words,
    draw,
    how_trained,
    rows_of,
    sizes_of,
    to_csv,
)
from asvit.reference.build_result import BuiltRow, noise_ceiling, reachable, spread
from asvit.reference.build_settings import BuildSettings
from asvit.runs.reference import BuildRun
from asvit.search.settings import TrainingSearchSettings
from asvit.spaces import SPACES, PlainSpace, load_space
from asvit.spaces.base import Choice
from asvit.training.supernets.settings import SupernetSettings
from proxies.counts import Cost

SETTINGS = BuildSettings(n=8, image_size=32, width=8)
percent = st.floats(0, 100)


def row(*accuracies: float, text: str = "a") -> BuiltRow:
    return BuiltRow(text, 1, 2, accuracies)


def test_architectures_are_distinct_and_carry_their_width() -> None:
    texts = draw(load_space("asvit"), SETTINGS)
    assert len(set(texts)) == 8
    assert all(text.endswith(",8") for text in texts)
    assert all(len(asvit.Genotype.parse(text).depths) == 4 for text in texts)


def test_a_larger_table_begins_with_a_smaller_one() -> None:
    space = load_space("asvit-tiny")
    few, many = (draw(space, BuildSettings.make(n=n, space="asvit-tiny")) for n in (20, 384))
    assert many[:20] == few
    assert len(set(many)) == space.size == 384


def test_a_share_of_a_table_varies_in_depth_and_width() -> None:
    space = load_space("asvit")
    some = SETTINGS.make(n=40, width=16, varied=0.5, max_depth=2)
    drawn = [asvit.Genotype.parse(text) for text in draw(space, some)]
    plain = [one.width == 16 and one.depths == (1, 1, 1, 1) for one in drawn]
    assert 18 <= sum(plain) <= 24  # a varied one may be plain by chance
    assert {one.width for one in drawn} == {8, 12, 16, 24, 32}
    assert {depth for one in drawn for depth in one.depths} == {1, 2}
    few = draw(space, SETTINGS.make(n=7, width=16, varied=0.5, max_depth=2))
    assert few == tuple(map(str, drawn[:7]))
    choices = [one.with_(depths=(1, 1, 1, 1), width=16) for one in drawn]
    assert list(map(str, choices)) == list(draw(space, SETTINGS.make(n=40, width=16)))


class Sized(PlainSpace):
    """A space whose architectures cannot be grown."""

    name, prefix, description, paper = "sized", "sized:", "for this test", "none"
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]] = {"depth": (1, 2, 3)}

    def network(self, choices: Mapping[str, Any], **_: Any) -> nn.Module:
        return nn.Identity()


def test_architectures_with_a_size_of_their_own_keep_it() -> None:
    assert set(draw(Sized(), SETTINGS.make(n=3))) == {"sized:1", "sized:2", "sized:3"}
    with pytest.raises(
        ValueError, match=r"varied=0.5 does not suit space 'sized', whose .*; use 0"
    ):
        draw(Sized(), SETTINGS.make(n=3, varied=0.5))


def test_a_table_of_such_architectures_tells_of_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ", 32 px, C=8, seed 0" in BuildRun.make(image_size=32, width=8).title
    monkeypatch.setitem(SPACES, "sized", Sized())
    for space, width in {"sized": "", "sized,asvit": "C=8, ", "asvit,sized": "C=8, "}.items():
        title = BuildRun.make(space=space, image_size=32, width=8).title
        assert f", 32 px, {width}seed 0" in title


def test_the_learning_rate_follows_the_width_where_asked() -> None:
    texts = {width: f"8,2,2|3,1,2|3,1,6|2,1,5|64,{width}" for width in (8, 16, 32)}
    same = SETTINGS.make(width=16, learning_rate=1e-3)
    scaled = SETTINGS.make(width=16, learning_rate=1e-3, rate_by_width=True)
    assert {same.recipe_of(text).learning_rate for text in texts.values()} == {1e-3}
    found = {width: scaled.recipe_of(text).learning_rate for width, text in texts.items()}
    assert found == pytest.approx({8: 2e-3, 16: 1e-3, 32: 5e-4})


@pytest.mark.parametrize(("optimizer", "name"), [("adamw", "AdamW"), ("muon", "Muon")])
def test_the_optimiser_is_a_part_of_the_recipe(optimizer: Any, name: str) -> None:
    settings = SETTINGS.make(optimizer=optimizer)
    assert settings.recipe.optimizer == optimizer
    assert how_trained(settings, "pets")["recipe"].startswith(f"{name}, {settings.steps} steps")
    search = TrainingSearchSettings(trainings=9, optimizer=optimizer)
    assert search.training.recipe.optimizer == optimizer


@pytest.mark.parametrize("balance", ["none", "weights", "sampling"])
def test_how_classes_are_balanced_is_a_part_of_the_recipe(balance: str) -> None:
    settings = SETTINGS.make(balance=balance)
    assert settings.recipe.balance == balance
    told = how_trained(settings, "pets")["recipe"]
    assert (f"balance {balance}" in told) == (balance != "none")
    kind = accuracies_in_words(balance).partition(" on ")[0]
    assert kind == ("top-1" if balance == "none" else "balanced accuracy")
    search = TrainingSearchSettings(trainings=9, balance=balance)
    assert search.training.recipe.balance == balance
    assert SupernetSettings().recipe.balance == "none"  # which has no such option


@pytest.mark.parametrize(
    ("warmup", "words"), [(0.1, "(10% linear"), (0.07, "(7% linear"), (0.125, "(12.5% linear")]
)
def test_every_warm_up_has_words_of_its_own(warmup: float, words: str) -> None:
    """Tables are comparable by these words."""
    assert words in how_trained(SETTINGS.make(warmup=warmup), "pets")["recipe"]


@pytest.mark.parametrize(
    ("data", "end"), [("pets", "test on, drawn with seed 3"), ("fractal", "others to test on")]
)
def test_a_table_says_by_which_seed_images_are_drawn(data: str, end: str) -> None:
    """The source of fractals has it; a search goes on from a table of the same images alone."""
    settings = SETTINGS.make(data=data, seed=3)
    assert how_trained(settings, data)["images"].endswith(end)
    known = end if data == "fractal" else f"{end}, SHA-256 0123456789abcdef…"
    assert how_trained(settings, data, "0123456789abcdef" * 4)["images"].endswith(known)


def test_another_seed_draws_others() -> None:
    texts = [draw(load_space("asvit"), BuildSettings.make(n=5, seed=seed)) for seed in (0, 1)]
    assert not set(texts[0]) & set(texts[1])


def test_no_more_are_drawn_than_there_are() -> None:
    with pytest.raises(ValueError, match=r"n=385, but space 'asvit-tiny' has 384 arch.*; use few"):
        draw(load_space("asvit-tiny"), BuildSettings.make(n=385, space="asvit-tiny"))
    few = BuildSettings.make(n=6, space="resnet", varied=1, max_depth=1)
    with pytest.raises(ValueError, match="'resnet' has only 5 architectures of these widths and"):
        draw(load_space("resnet"), few)


def test_a_width_below_the_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="width=4 is less than its 8 heads; use a width C of"):
        draw(load_space("asvit"), BuildSettings.make(n=40, width=4))


def test_rows_wait_for_all_their_trainings() -> None:
    few = BuildSettings.make(n=2, seeds=2, image_size=32, width=8)
    texts = draw(load_space("asvit"), few)
    outcomes = {
        Training(texts[1], 0): Outcome(50.0, 1.0, 3.0),
        Training(texts[0], 1): Outcome(40.0, 1.0, 3.0),
        Training(texts[1], 1): Outcome(math.nan, math.nan, 3.0, "the loss became nan in step 1"),
    }
    sizes = sizes_of(texts, few, 10, 3)
    (only,) = rows_of(sizes, outcomes, seeds=2)
    assert (only.architecture, only.accuracies[0]) == (texts[1], 50.0)
    assert math.isnan(only.mean)
    assert math.isnan(only.std)
    trained = asvit.build(only.architecture, 32, 10)
    assert Cost(only.params, only.macs) == asvit.cost(trained, 32)
    outcomes[Training(texts[0], 0)] = Outcome(44.0, 1.0, 3.0)
    first, _ = rows_of(sizes, outcomes, seeds=2)
    assert (first.architecture, first.accuracies, first.mean) == (texts[0], (44.0, 40.0), 42.0)
    assert first.std == pytest.approx(math.sqrt(8))


def test_spread_by_hand() -> None:
    rows = [row(10, 14), row(20, 20), row(30, 33), row(50, math.nan)]
    apart = spread(rows)
    assert (apart.lowest, apart.median, apart.highest) == (12, 20, 31.5)
    assert apart.between == pytest.approx(math.sqrt(((9.167**2) + 1.167**2 + 10.333**2) / 2), 1e-3)
    # Variances 8, 0 and 4.5.
    assert apart.within == pytest.approx(math.sqrt(12.5 / 3))


def test_one_seed_has_a_spread_between_architectures_only() -> None:
    apart = spread([row(1), row(3)])
    assert apart.between == pytest.approx(math.sqrt(2))
    assert math.isnan(apart.within)


@pytest.mark.parametrize("rows", [[], [row(1, 2)], [row(1, 2), row(3, math.nan)]])
def test_too_few_rows_have_neither_spread_nor_ceiling(rows: list[BuiltRow]) -> None:
    assert math.isnan(spread(rows).between)
    assert math.isnan(noise_ceiling(rows))


@pytest.mark.parametrize(
    ("rows", "ceiling"),
    [
        # Of the 6 pairs, seeds 0 and 1 order 5 alike and 1 the other way round.
        ([row(1, 1), row(2, 2), row(3, 4), row(4, 3), row(9, math.nan)], 4 / 6),
        ([row(1, 1, 3), row(2, 2, 2), row(3, 3, 1)], (1 - 1 - 1) / 3),  # the mean over pairs
        ([row(1), row(2), row(3)], math.nan),
        ([row(1, 1), row(1, 2), row(1, 3)], math.nan),  # one seed ranks nothing
        ([row(1, 1), row(2, 2), row(3)], math.nan),  # the others say little of this one
    ],
)
def test_the_noise_ceiling_by_hand(rows: list[BuiltRow], ceiling: float) -> None:
    assert noise_ceiling(rows) == pytest.approx(ceiling, nan_ok=True)


@pytest.mark.parametrize("noise", [0.3, 1.0])
@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_what_is_reachable_is_what_the_truth_reaches(noise: float, seeds: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(20_000)
    columns = truth + noise * rng.standard_normal((max(seeds, 2), len(truth)))
    ceiling = kendalltau(columns[0], columns[1]).statistic
    of_the_truth = kendalltau(truth, columns[:seeds].mean(0)).statistic
    assert reachable(ceiling, seeds) == pytest.approx(of_the_truth, abs=0.01)
    assert reachable(ceiling, seeds) > ceiling


def test_nothing_is_reachable_where_seeds_do_not_agree() -> None:
    assert reachable(1.0, 2) == pytest.approx(1.0)
    assert all(math.isnan(reachable(ceiling, 2)) for ceiling in (0.0, -0.1, math.nan))


def written(
    path: Path, values: Sequence[tuple[float, ...]]
) -> tuple[list[BuiltRow], ReferenceTable]:
    """Rows with these accuracies, and the table that is read from their file."""
    texts = draw(load_space("asvit"), BuildSettings.make(n=len(values), image_size=32, width=8))
    rows = [
        BuiltRow(text, *vars(asvit.cost(text, 32, 10)).values(), pair)
        for text, pair in zip(texts, values, strict=True)
    ]
    path.write_text(to_csv(rows, {"num_classes": "10", "image_size": "32"}, seeds=2))
    return rows, load_reference(path)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(percent, percent), min_size=5, max_size=9, unique=True))
def test_a_table_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[float, float]]
) -> None:
    rows, table = written(tmp_path_factory.mktemp("tables") / "mine.csv", values)
    assert table.architectures == tuple(each.architecture for each in rows)
    assert table.image_sizes == (32,) * len(rows)
    assert table.params == tuple(each.params for each in rows)
    assert table.macs == tuple(each.macs for each in rows)
    assert table.default_target == "accuracy"
    assert set(table.targets) == {"accuracy", "accuracy_seed0", "accuracy_seed1"}
    assert {target.training for target in table.targets.values()} == {"scratch"}


def test_a_failed_training_leaves_its_cells_empty(tmp_path: Path) -> None:
    values = [(50.0 + i, math.nan if i == 2 else 51.0) for i in range(6)]
    _, table = written(tmp_path / "mine.csv", values)
    assert math.isnan(table.accuracies["accuracy"][2])
    assert math.isnan(table.accuracies["accuracy_seed1"][2])
    assert table.accuracies["accuracy_seed0"][2] == 52.0
    assert table.accuracies["accuracy"][3] == 52.0
    assert table.targets["accuracy"].noise_ceiling is None  # one seed has the same for all


def test_the_file_says_the_noise_ceiling(tmp_path: Path) -> None:
    values = [(10.0, 11.0), (20.0, 22.0), (30.0, 21.0), (40.0, 41.0), (50.0, 49.0)]
    _, table = written(tmp_path / "mine.csv", values)
    # 9 of 10 pairs are ordered alike
    assert {target.noise_ceiling for target in table.targets.values()} == {0.8}


def test_rows_may_have_been_trained_unequally_often(tmp_path: Path) -> None:
    values = [(50.0, 51.0), *((52.0 + i,) for i in range(5))]
    _, table = written(tmp_path / "mine.csv", values)
    assert table.accuracies["accuracy"] == (50.5, 52, 53, 54, 55, 56)
    assert table.accuracies["accuracy_seed0"] == (50, 52, 53, 54, 55, 56)
    assert table.targets.keys() == {"accuracy", "accuracy_seed0"}  # one row has another seed
    first, *others = table.accuracies["accuracy_seed1"]
    assert (first, np.isnan(others).tolist()) == (51, 5 * [True])
    assert "mean of 1 to 2 training seed(s)" in table.targets["accuracy"].description


def test_families_may_have_other_numbers_of_steps() -> None:
    settings = BuildSettings.make(space="resnet,swin", steps=100, paces="resnet=1.5")
    texts = [load_space(name).by_hand[0] for name in ("resnet", "swin")]
    assert [settings.recipe_of(text).steps for text in texts] == [150, 100]
    with pytest.raises(ValueError, match="paces='deit=2': unknown family 'deit'"):
        BuildSettings.make(space="resnet,swin", paces="deit=2")
    for paces in ("resnet", "resnet=-1", "resnet=nan"):
        with pytest.raises(ValueError, match=r"families and numbers above 0, such as resnet=1\.5"):
            BuildSettings.make(space="resnet,swin", paces=paces)
