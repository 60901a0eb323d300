"""The last round of a design: which networks are in it, which wins, and what is said of it."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asvit.core.estimates import Estimate, Interval
from asvit.designs.last_round import contenders
from asvit.designs.result import Racer
from asvit.designs.stages import Choice, SearchPlan, StageResults
from asvit.runs.algorithms.design_trainings import train
from asvit.runs.designing import DesignRun, design
from asvit.search.rows import PredictorCheck
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


def test_a_network_made_by_hand_that_wins_is_said_to_be_one(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.validation = {"finalist-2": 70.0}
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    assert result.architecture == result.hand_made.architecture
    assert (result.difference, result.difference_interval) == (None, None)
    assert "it is of a published shape, and none that was searched beat it" in result.outcome
    assert "because no other led" not in result.outcome


def test_a_network_made_by_hand_is_compared_with_the_next_one(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.validation = {"finalist-2": 75.0, "finalist-3": 70.0}
    result = design(pictures, max_params="300K", space="asvit,resnet", out=tmp_path)
    chosen, *others = result.last_round
    (next_best,) = (racer for racer in others if racer.by_hand)
    assert (chosen.by_hand, next_best.family) == (True, "resnet")
    assert result.outcome.partition("; ")[2] == (
        "it is of a published shape, and none that was searched beat it; in the last round, "
        f"of 1 epoch, where both were trained alike, it reached {shown(chosen)} %, the next one "
        "made by hand, "
        f"{next_best.architecture}, {shown(next_best)} %"
    )


def test_a_space_without_networks_made_by_hand_is_not_said_to_have_them_beyond_the_limits(
    pictures: Path, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(load_space(SPACE)), "by_hand", ())  # as asvit-tiny has it
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    assert result.hand_made is None
    assert result.outcome.endswith("; no network made by hand was in the last round")
    assert fakes.card["by_hand"] == "none was in the last round"


def test_a_first_family_that_is_behind_is_said_to_be_chosen_for_lack_of_proof(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.validation = {"finalist-2": 70.0, "finalist-3": 75.0}
    result = design(pictures, max_params="300K", space="asvit,resnet", out=tmp_path)
    assert result.family == "asvit"
    assert result.outcome.endswith(
        f"{result.difference_in_words}; chosen as one of the first family, because no other led "
        "by two standard errors on the validation pictures after a training that is long enough "
        "to tell"
    )


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


def test_a_design_whose_last_network_fails_says_so(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.failing = {f"finalist-{place}": Diverged(f"loss {place}") for place in (1, 2, 3)}
    with pytest.raises(Diverged, match="loss 3"):
        design(pictures, max_params="100K", space=SPACE, out=tmp_path)


def shown(racer: Racer) -> str:
    return str(Estimate(racer.accuracy, *racer.accuracy_interval, digits=1))


@pytest.mark.parametrize(("low", "finalists"), [(-0.1, 2), (0.1, 3), (math.nan, 2)])
def test_a_search_that_ranked_nothing_leaves_more_time_to_the_training(
    low: float,
    finalists: int,
    pictures: Path,
    tmp_path: Path,
    fakes: Fakes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fakes.check = PredictorCheck(0.3, Interval(low, 0.6), ())
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    assert len(result.last_round) == finalists
    assert result.ranked == (finalists == 3)
    assert ("its check does not show that" in caplog.text) == (finalists == 2)
    page = (tmp_path / "report.html").read_text()
    assert ("does not show that it ranks" in page) == (finalists == 2)


def test_the_best_of_another_family_is_in_the_last_round(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    result = design(pictures, max_params="300K", space="asvit,resnet", out=tmp_path)
    last = [racer for racer in result.race if racer.round == "last"]
    assert [racer.family for racer in last] == ["asvit", "asvit", "resnet"]
    assert [racer.by_hand for racer in last] == [False, True, True]


@pytest.mark.parametrize(
    ("ranking", "order"),
    [
        ([("swin", True), ("deit", True), ("resnet", True)], "swin resnet deit"),
        ([("resnet", True), ("deit", True), ("swin", True)], "resnet deit swin"),
        ([("resnet", False), ("deit", True), ("resnet", True)], "resnet resnet deit"),
        ([("swin", False), ("deit", True), ("swin", True)], "swin deit swin"),
    ],
)
def test_the_network_made_by_hand_of_the_first_family_is_in_the_last_round(
    ranking: list[tuple[str, bool]], order: str
) -> None:
    entries = [entry(family, by_hand=by_hand) for family, by_hand in ranking]
    networks = [*contenders(entries, "resnet")]
    assert networks[0] == entries[0]
    assert " ".join(one.family for one in networks) == order


@pytest.mark.parametrize(
    ("pictures", "share", "few"),
    [
        ({"train": 2_040}, 0.05, 102),  # one of each class
        ({"train": 2_040}, 0.9, 1_468),
        ({"train": 2_040, "validation": 1_020}, 0.9, 918),
        ({"train": 2_040, "validation": 1_020}, 0.999, 918),  # of 1,020: there are no more
    ],
)
def test_few_pictures_of_the_last_round_are_some_of_each_class_and_no_more_than_there_are(
    pictures: dict[str, int], share: float, few: int, tmp_path: Path
) -> None:
    facts = picture_facts([f"class {n}" for n in range(102)], **pictures)
    last = plan_of(StageResults(pictures=facts), tmp_path, hours=0.1).last_round
    assert last.fewer_pictures(share) == few
    apart = pictures.get("validation", 408)
    assert (last.train_pictures, last.validation_pictures) == (2_040 - apart, apart)


@pytest.mark.parametrize(
    ("seconds", "each"), [((9.0,), 9.0), ((9.0, 6.0), 6.0), ((9.0, 7.0, 6.0, 8.0), 7.0)]
)
def test_an_epoch_takes_what_the_later_ones_of_a_finalist_took(
    seconds: tuple[float, ...], each: float
) -> None:
    history = [SimpleNamespace(score=50.0, seconds=taken) for taken in seconds]
    result = SimpleNamespace(
        params=1, macs=1, provenance={"command": ""}, history=history, wall_seconds=9.0
    )
    trained = train(SimpleNamespace(run=lambda: result))
    assert trained.epoch_seconds == each


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
    ("planned", "winner"), [(None, "finalist-1"), (300, "finalist-1"), (1000, "finalist-2")]
)
def test_a_round_that_is_much_shorter_than_the_training_decides_nothing(
    planned: int | None, winner: str, tmp_path: Path
) -> None:
    """After 1,000 updates of 37,500, or of 125,000."""
    results = last_round(
        picture_facts("0123456789", 8_000, test=5_000),
        [entry("swin"), entry("resnet")],
        [80.0, 60.0],
        epochs=10,
    )
    results["plan"] = SearchPlan(
        **{"space": "resnet,swin", "trainings": 5, "training_steps": 9, "image_size": 64},
        **{"max_macs": None, "max_params": 10**6, "width_multiple": 1, "epochs": planned},
    )
    assert plan_of(results, tmp_path, space="resnet,swin").choice().winner == winner


def test_one_that_does_not_tell_how_it_will_end_hides_no_other(tmp_path: Path) -> None:
    results = last_round(
        picture_facts("0123456789", 8_000, test=5_000),
        [entry("swin"), entry("resnet"), entry("convnext")],
        [54.0, 20.0, 50.0],
        epochs=5,
    )
    results["finalist-3"] = replace(results.trained("finalist-3"), epochs=10)
    assert plan_of(results, tmp_path, space="resnet,swin,convnext").choice().winner == "finalist-3"


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


def test_the_training_wants_no_more_pictures_for_validation_than_there_are(tmp_path: Path) -> None:
    network = entry("resnet", architecture="timm:resnet18")
    for validation, count in ((0, 5), (60, 5), (3, 3)):
        facts = picture_facts("abcde", 300, validation=validation, sizes=[60] * 5)
        results = last_round(facts, [network], [50.0])
        results["choice"] = Choice(
            winner="finalist-1", by_hand=None, accuracies={}, epochs=9, seconds={}
        )
        plan = plan_of(results, tmp_path, balance="none")
        assert plan.trainings.winner().settings.validation_images == count


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
        (2, {"balance": "weights"}, "weights"),
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
    for words in ("Balanced accuracy of every network", "The search, best first, per cent; of"):
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


def test_few_pictures_of_a_class_make_balanced_accuracies_less_sure(tmp_path: Path) -> None:
    def winner(sizes: list[int], lead: float) -> str:
        facts = picture_facts("ab", sum(sizes), sizes=sizes)
        networks = [entry("swin"), entry("resnet")]
        results = last_round(facts, networks, [60.0 + lead, 60.0], epochs=99)
        return plan_of(results, tmp_path, space="resnet,swin").choice().winner

    assert winner([3_000, 3_000], 6.0) == "finalist-1"  # 1,200 to validate with: two errors are 4
    assert winner([5_900, 100], 6.0) == "finalist-2"  # as many as 79 of even classes would be: 15
    assert winner([5_900, 100], 16.0) == "finalist-1"
