"""The last round of a design: which networks are in it, which wins, and what is said of it."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asvit.core.estimates import Estimate
from asvit.designs.result import Racer
from asvit.designs.stages import Choice
from asvit.runs.designing import DesignRun, design
from asvit.spaces import cost, load_space
from asvit.training.trainer import Diverged
from tests.asvit.runs.designing_fakes import (
    SPACE,
    Fakes,
    entry,
    last_round,
    picture_facts,
    plan_of,
    results_in,
)
from tests.asvit.runs.fakes import write_pictures


def test_networks_are_as_wide_as_the_limits_and_the_last_round_decides(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "150K", "max_macs": "20M"}
    result = design(pictures, space=SPACE, out=tmp_path, **limits)
    for model in (result, result.hand_made):
        size = cost(model.architecture, result.image_size, 2)
        assert (model.params, model.macs) == (size.params, size.macs)
        assert model.params <= 150_000
        assert model.macs <= 20_000_000
        wider = load_space("asvit").parse(model.architecture)
        more = cost(wider.with_(width=wider.width + 1), result.image_size, 2)
        assert more.params > 150_000 or more.macs > 20_000_000
    assert result.image_size == 64  # the pictures have sides of 70 pixels or more
    assert (result.train_pictures, result.test_pictures) == (15, 4)
    assert list(result.unreadable) == ["class1/019.jpg"]
    assert "truncated" in result.unreadable["class1/019.jpg"]
    searched, last = ([r for r in result.race if r.round == n] for n in ("search", "last"))
    assert [racer.by_hand for racer in searched] == [False, False, True]
    assert [racer.by_hand for racer in last] == [False, True, False]
    assert [racer.chosen for racer in last] == [True, False, False]
    assert [racer.validation for racer in last] == [60.0, 50.0, 50.0]
    assert result.architecture == last[0].architecture
    assert result.hand_made.architecture == last[1].architecture
    assert fakes.trained["training"].weights is None  # 60 % of three pictures may be chance
    assert result.accuracy == 100.0
    assert result.hand_made.accuracy == 75.0
    assert result.difference == 25.0
    low, high = result.difference_interval
    assert low < 0 < 25 < high
    assert result.difference_p == 1.0  # one picture of four
    assert "no difference" in result.difference_in_words
    assert f"{result.params:,} of 150,000 parameters" in result.outcome
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["hand_made"].keys() >= {"architecture", "params", "macs", "latency_ms"}
    assert content["limits"] == {
        "max_params": {"value": result.params, "kept": True},
        "max_macs": {"value": result.macs, "kept": True},
    }
    assert len(content["commands"]) == 9
    page = (tmp_path / "report.html").read_text()
    assert "19.jpg" in page
    assert result.architecture in page
    assert "The race" in page
    assert "Test pictures that are taken for what they are" in page


@pytest.mark.parametrize("stage", ["finalist-2", "plan of finalist-2"])
@pytest.mark.parametrize("error", [Diverged("the loss became nan; try"), MemoryError("no")])
def test_a_network_whose_training_fails_drops_out(
    stage: str,
    error: Exception,
    pictures: Path,
    tmp_path: Path,
    fakes: Fakes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fakes.failing = {stage: error}
    fakes.stop_in("training", pictures, max_params="100K", space=SPACE, out=tmp_path)
    assert results_in(tmp_path)["finalist-2"] is None
    why = str(error).partition(";")[0]
    assert f"drops out of the last round: {why}" in caplog.text
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path)  # goes on
    assert fakes.calls.count("finalist-2") == (stage == "finalist-2")
    assert len(result.last_round) == 2
    assert result.hand_made is None  # it was the one made by hand


def shown(racer: Racer) -> str:
    return str(Estimate(racer.accuracy, *racer.accuracy_interval, digits=1))


@pytest.mark.parametrize(
    ("leads", "epochs", "winner"),
    [
        (20.0, 5, "finalist-2"),  # of 10 classes, after 500 updates
        (20.0, 10, "finalist-1"),
        (54.9, 5, "finalist-2"),
        (55.0, 5, "finalist-1"),
    ],
)
def test_what_learns_fastest_wins_only_once_it_tells_how_it_will_end(
    leads: float, epochs: int, winner: str, tmp_path: Path
) -> None:
    results = last_round(
        picture_facts("0123456789", 8_000, test=5_000),
        [entry("swin"), entry("resnet")],
        [leads, 13.0],
        epochs=epochs,
    )
    assert plan_of(results, tmp_path, space="resnet,swin").choice().winner == winner


@pytest.mark.parametrize(
    ("accuracies", "pictures", "winner"),
    [
        ((60.0, 45.0), 300, "finalist-2"),  # of 60 pictures: 18 points are two standard errors
        ((70.0, 50.0), 300, "finalist-1"),
        ((60.0, 57.0), 6_000, "finalist-2"),  # of 1,200: 4 points
        ((60.0, 55.0), 6_000, "finalist-1"),
        ((50.0, 60.0), 300, "finalist-2"),
        ((100.0, 100.0), 300, "finalist-2"),
    ],
)
def test_another_family_has_to_beat_the_first_by_two_standard_errors(
    accuracies: tuple[float, float], pictures: int, winner: str, tmp_path: Path
) -> None:
    facts = picture_facts("abcde", pictures, test=pictures)
    results = last_round(facts, [entry("swin"), entry("resnet")], accuracies)
    assert plan_of(results, tmp_path, space="resnet,swin").choice().winner == winner


@pytest.mark.parametrize(
    ("accuracies", "ranked", "winner"),
    [
        ((1.75, 1.31), False, "finalist-2"),
        ((1.75, 1.31), True, "finalist-1"),
        ((60.0, 57.0), False, "finalist-2"),  # of 1,200 pictures: 4 points
        ((60.0, 55.0), False, "finalist-1"),
        ((57.0, 60.0), True, "finalist-2"),
    ],
)
def test_a_search_that_ranks_nothing_has_to_beat_the_network_made_by_hand(
    accuracies: tuple[float, float], ranked: bool, winner: str, tmp_path: Path
) -> None:
    networks = [entry("shiftvit", by_hand=False), entry("shiftvit")]
    results = last_round(picture_facts("abcde", 6_000, test=6_000), networks, accuracies)
    results["search"] = replace(results.search, ranked=ranked)
    assert plan_of(results, tmp_path, space="shiftvit,swin").choice().winner == winner


@pytest.mark.parametrize(
    ("accuracy", "epochs", "sizes", "weights"),
    [
        (54.0, 26, [300] * 10, None),  # after 975 updates; a tenth by chance
        (55.0, 26, [300] * 10, "finalist-1"),
        (54.0, 27, [300] * 10, "finalist-1"),
        (74.0, 26, [1500, *[150] * 10], None),  # half are of one class
        (75.0, 26, [1500, *[150] * 10], "finalist-1"),
    ],
)
def test_weights_of_the_last_round_go_on_if_they_tell_how_they_will_end(
    accuracy: float, epochs: int, sizes: list[int], weights: str | None, tmp_path: Path
) -> None:
    facts = picture_facts([str(n) for n, _ in enumerate(sizes)], 3_000, sizes=sizes)
    network = entry("resnet", architecture="timm:resnet18")
    results = last_round(facts, [network], [accuracy], epochs=epochs)
    results["choice"] = Choice(
        winner="finalist-1", by_hand=None, accuracies={}, epochs=9, seconds={}
    )
    plan = plan_of(results, tmp_path, balance="none")
    expected = None if weights is None else str(tmp_path / weights)
    assert plan.trainings.winner().settings.weights == expected
    results["epochs"] = replace(results.epochs, fractals={"finalist-1": (8_000, 20)})
    again = plan.trainings.winner().settings
    assert again.weights == (expected or str(tmp_path / "finalist-1-fractals"))
    assert again.new_head == (weights is None)


def uneven(pictures: Path, folder: Path, fewer: int) -> Path:
    """The pictures without some of the second class."""
    shutil.copytree(pictures, folder)
    for path in sorted((folder / "class1").iterdir())[:fewer]:
        path.unlink()
    return folder


@pytest.mark.parametrize(
    ("fewer", "more", "balance"),
    [
        (4, {}, "sampling"),
        (2, {}, "none"),  # less than three times as many
        (4, {"balance": "none"}, "none"),
        (2, {"balance": "sampling"}, "sampling"),
    ],
)
def test_uneven_classes_are_balanced_unless_one_does_not_want_it(
    fewer: int,
    more: dict[str, Any],
    balance: str,
    tmp_path: Path,
    fakes: Fakes,
) -> None:
    pictures = write_pictures(tmp_path / "twenty", each=20)
    options = {"max_params": "100K", "space": SPACE, **more}
    folder = uneven(pictures, tmp_path / "uneven", 10 + fewer)
    result = design(folder, out=tmp_path / "run", **options)
    assert {fakes.balances[name] for name in ("search", "finalist-1", "training")} == {balance}
    sizes = results_in(tmp_path / "run").pictures.sizes
    assert (result.balance, result.imbalance) == (balance, sizes[0] / sizes[1])
    words = f"the largest class has {result.imbalance:.1f} times the pictures of the smallest: "
    page = (tmp_path / "run/report.html").read_text()
    shown = [str(part) for part in DesignRun.summary(result)]
    assert any(line.startswith(words) for line in shown) == (balance != "none")
    assert (words in page) == (balance != "none")
    for words in ("Balanced accuracy of the validation", "best first, per cent; balanced"):
        assert (words in page) == (balance != "none")
    title = DesignRun.make(data=str(folder), **options).title
    words = "and networks and epochs are compared by balanced accuracy"
    assert (words in title) == (balance != "none")
    assert result.balanced_accuracy == 100.0
    low, high = result.balanced_accuracy_interval
    assert low < 90 < high == 100
    assert result.hand_made.balanced_accuracy < 100
    compared = "accuracy" if balance == "none" else "balanced_accuracy"
    assert result.difference == pytest.approx(100 - getattr(result.hand_made, compared))
    assert math.isnan(result.difference_p) == (balance != "none")
    assert ("points [95 %] of balanced accuracy from" in result.outcome) == (balance != "none")
