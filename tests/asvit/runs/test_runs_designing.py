"""Designs: stages that are kept, limits that hold, and one whole run on a few pictures."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import asvit
from asvit.core.journal import Journal
from asvit.core.progress import Progress
from asvit.core.run_files import CHECKPOINT, JOURNAL, RESULT
from asvit.core.summary import Estimate
from asvit.data.files import TEST, ListedDataset
from asvit.data.fractals import FractalDataset
from asvit.data.training_sets import open_training_sets
from asvit.designs import fitting, fractals
from asvit.designs.hours import SHARES, Hours, shares
from asvit.designs.journal import DesignJournal, Stage
from asvit.designs.last_round import contenders, first_family
from asvit.designs.pictures import open_pictures
from asvit.designs.result import DesignResult, Racer
from asvit.designs.settings import DesignSettings
from asvit.designs.stages import (
    FINALISTS,
    Choice,
    Entrant,
    Finalists,
    Lengths,
    PictureFacts,
    SearchOutcome,
    SearchPlan,
    StageResults,
    Trained,
)
from asvit.export.formats import Format
from asvit.reference.findings import Interval
from asvit.runs.algorithms import design_copies, design_search, design_testing
from asvit.runs.algorithms.design_plan import DesignPlan
from asvit.runs.algorithms.design_trainings import Trainings, train
from asvit.runs.algorithms.search import SearchAlgorithm
from asvit.runs.algorithms.training import TrainAlgorithm
from asvit.runs.designing import DesignRun, design
from asvit.runs.predicting import Guess
from asvit.search.limits import Limits
from asvit.search.rows import Confirmed, PredictorCheck
from asvit.search.settings import ACCURACY
from asvit.spaces import cost, load_space
from asvit.spaces.architectures import parse
from asvit.training.settings import TrainSettings
from proxies.latency import Latency
from tests.asvit.cli.commands import run
from tests.asvit.runs.fakes import write_pictures
from tests.campaigns import forked
from tests.campaigns.kill_runs import shorten_designs

TEXTS = ["8,8,3|2,1,3|4,1,2|4,1,2|16", "4,4,2|2,2,2|2,1,2|2,1,2|16"]
STAGES = [
    *("pictures", "plan", "search", "finalists", "epochs"),
    *("finalist-1", "finalist-2", "finalist-3", "choice"),
    *("training", "test", "latency", "export"),
]
SPACE = "asvit"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("design") / "pictures")


class Fakes:
    """In place of what takes long; tells what was called, and stops where it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.told: dict[str, str] = {}
        self.searched: list[int | None] = []  # limits
        self.multiples: list[int | None] = []  # of the widths of searches
        self.stop_at = ""
        self.slow: dict[str, float] = {}  # beginnings of texts: milliseconds at any width
        self.validation = {"finalist-1": 60.0}  # accuracies
        self.trained: dict[str, TrainSettings] = {}  # folder to settings
        self.balances: dict[str, str] = {}  # how runs balance classes
        self.check = PredictorCheck(0.3, Interval(0.1, 0.6), ())
        self.ran = 0.0  # seconds of a run in all its sessions

    def called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.stop_at:
            raise KeyboardInterrupt

    def stop_in(self, stage: str, *args: Any, **options: Any) -> None:
        """A design that is stopped in a stage."""
        self.stop_at = stage
        with pytest.raises(KeyboardInterrupt):
            design(*args, **options)
        self.stop_at = ""

    def search(self, run: SearchAlgorithm) -> object:
        self.searched.append(run.settings.max_params)
        self.multiples.append(run.settings.width_multiple)
        self.balances["search"] = run.settings.balance
        self.called("search")
        space = load_space(run.settings.space)
        limits = Limits(space, run.settings)
        texts = [str(limits.network(space.parse(text))) for text in (*TEXTS, *space.by_hand)]
        rows = [SimpleNamespace(architecture=text) for text in texts]
        trials = [
            SimpleNamespace(architecture=text, values={ACCURACY: 50.0 - place})
            for place, text in enumerate(texts)
        ]
        return SimpleNamespace(
            seed_first=rows[:1], trials=trials, settings=run.settings, predictor=self.check,
            confirmed=Confirmed(70.0, 60.0, 80.0, 2), variance={}, wall_seconds=self.ran,
            provenance={"command": run.command_line()},
        )  # fmt: skip

    def train(self, run: TrainAlgorithm) -> object:
        self.called(run.folder.name)
        self.trained[run.folder.name] = run.settings
        self.balances[run.folder.name] = run.settings.balance
        size = cost(run.settings.architecture, run.settings.image_size, 2)
        top1 = self.validation.get(run.folder.name, 50.0)
        return SimpleNamespace(
            params=size.params, macs=size.macs, history=[SimpleNamespace(seconds=2.0, score=top1)],
            provenance={"command": run.command_line()}, wall_seconds=self.ran,
        )  # fmt: skip

    def plan(self, run: TrainAlgorithm) -> object:
        macs = cost(run.settings.architecture, run.settings.image_size, 2).macs
        return {"steps_per_epoch": 10, "time": {"epoch": macs / 1e6, "images_per_second": 10.0}}

    def predict(self, weights: Path, images: list[str], **_: object) -> list[object]:
        self.called(f"test {Path(weights).name}")
        right = len(images) - (Path(weights).name == "finalist-2")
        labels = [Path(name).parent.name for name in images[:right]]
        labels += ["other"] * (len(images) - right)
        return [SimpleNamespace(guesses=[Guess(label, 0.9)]) for label in labels[: len(images)]]

    def export(self, *, to: str, out: str, facts: Any, **_: object) -> object:
        self.called(f"export {to}")
        self.told = facts["designed"]
        return SimpleNamespace(command=f"asvit export --to {to} --out {out}")

    def latency(self, _plan: DesignPlan, text: str, side: int) -> Latency:
        arch: Any = parse(text)
        self.called("latency")
        slow = (s for begun, s in self.slow.items() if text.startswith(begun))
        took = max([0.1 * getattr(arch, "width", 16), *slow])
        return Latency(took, 0.1, 1.0, 10, 1.0, "fake", 1, "eager", 1, side)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    made = Fakes()
    monkeypatch.setattr(SearchAlgorithm, "run", lambda run: made.search(run))
    monkeypatch.setattr(TrainAlgorithm, "run", lambda run: made.train(run))
    monkeypatch.setattr(TrainAlgorithm, "plan", lambda run: made.plan(run))
    monkeypatch.setattr(design_testing, "predict", made.predict)
    monkeypatch.setattr(design_search, "training_seconds", lambda *_: 600.0)
    monkeypatch.setattr(design_copies, "export_network", made.export)
    monkeypatch.setattr(DesignPlan, "latency", lambda *given: made.latency(*given))
    return made


def results_in(folder: Path) -> StageResults:
    return DesignJournal(folder / "design.jsonl").results


def picture_facts(classes: Sequence[str], train: int, **more: Any) -> PictureFacts:
    return PictureFacts(classes=classes, train=train, side=32, **more)


def last_round(
    facts: PictureFacts,
    networks: Sequence[Entrant],
    accuracies: Sequence[float],
    *,
    epochs: int = 1_000,
) -> StageResults:
    """The results of a last round, of a search that ranks nothing."""
    size = {"params": 1, "macs": 1, "command": "", "epochs": epochs, "epoch_seconds": 1.0}
    return StageResults(
        pictures=facts,
        search=SearchOutcome(ranking=[], ranked=False, variance={}, prediction="", command=""),
        finalists=Finalists(side=32, networks=networks, pretrained=[]),
        epochs=Lengths(epochs={}, pictures={}, fractals={}, seconds={}),
        **{
            name: Trained(validation=accuracy, **size)
            for name, accuracy in zip(FINALISTS, accuracies, strict=False)
        },
    )


def plan_of(results: StageResults, folder: Path, **options: Any) -> DesignPlan:
    settings = DesignSettings(data="digits", max_macs=10_000_000, **options)
    return DesignPlan(settings, folder, results, lambda: 0.0, lambda _: {})


def without_times(result: DesignResult) -> dict[str, Any]:
    content = result.to_json()
    return {name: value for name, value in content.items() if name != "wall_seconds"}


@pytest.mark.parametrize(
    "stop", ["search", "finalist-2", "training", "test training", "export onnx", "latency"]
)
def test_finished_stages_are_not_run_again(
    stop: str, pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    whole = design(pictures, max_params="100K", space=SPACE, out="run")
    every = [*fakes.calls]
    assert fakes.told["limits"] == "at most 100,000 parameters"
    assert fakes.told["latency"].endswith("ms for 1 image(s) by eager on fake, 1 thread(s)")
    (tmp_path / "run").rename(tmp_path / "whole")
    fakes.calls.clear()
    fakes.stop_in(stop, pictures, max_params="100K", space=SPACE, out="run")
    done = [*fakes.calls]
    assert done == every[: len(done)]
    fakes.calls.clear()
    again = design(pictures, max_params="100K", space=SPACE, out="run")
    stage = next(n for n, name in enumerate(every) if name == stop)
    first = next(n for n, name in enumerate(every) if name.split()[0] == stop.split()[0])
    assert fakes.calls == every[first:]
    assert first <= stage
    assert without_times(again) == without_times(whole)
    fakes.calls.clear()
    assert without_times(
        design(pictures, max_params="100K", space=SPACE, out="run")
    ) == without_times(again)
    assert fakes.calls == []
    journal: Journal[DesignSettings] = DesignJournal(tmp_path / "run" / "design.jsonl")
    assert [one.name for one in journal.records] == STAGES


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


def test_a_design_of_other_generated_pictures_starts_over_without_the_old_ones(
    tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "100K", "space": SPACE, "out": tmp_path}
    design("fractal:3", **limits)
    result = design("fractal:2", fresh=True, **limits)
    assert len(result.classes) == 2
    assert result.train_pictures + result.test_pictures == 120


@pytest.mark.parametrize("stop", ["search", ""])
def test_other_generated_pictures_are_refused(
    stop: str, pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "100K", "space": SPACE, "out": tmp_path}
    if stop:
        fakes.stop_in(stop, "fractal:3", **limits)
    else:
        design("fractal:3", **limits)
    for other in ("fractal:2", str(pictures)):
        with pytest.raises(ValueError, match="was started with other settings: data fractal:3"):
            design(other, **limits)


def test_a_finished_design_is_not_said_to_be_of_other_pictures(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "100K", "space": SPACE, "out": tmp_path / "run"}
    design(pictures, **limits)
    before = (tmp_path / "run" / "images.csv").read_text()
    other = write_pictures(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="was started with other pictures than those in"):
        design(other, **limits)
    assert (tmp_path / "run" / "images.csv").read_text() == before


def test_sizes_that_no_network_of_the_space_takes_are_refused_at_once(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    with pytest.raises(ValueError, match="does not divide 28 tokens per side"):
        design(pictures, max_params="100K", space=SPACE, image_size=112, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_time_of_a_session_that_was_killed_in_a_stage_counts(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.ran = 100.0  # seconds of search, finalists and training
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    assert 500 <= result.wall_seconds < 600
    journal = DesignJournal(tmp_path / "design.jsonl")
    assert 500 <= journal.elapsed < 600


def test_a_design_that_an_earlier_version_has_tested_goes_on(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    options = {"max_params": "100K", "space": SPACE, "out": tmp_path}
    result = design(pictures, **options)
    journal = DesignJournal(tmp_path / "design.jsonl")
    (stored,) = (stage.result for stage in journal.records if stage.name == "test")
    accuracies = stored["accuracies"]
    before = {name: value for name, value in stored.items() if name != "accuracies"}
    journal.note(Stage("test", {**before, **accuracies}))  # as it was written then
    assert set(accuracies) == {"finalist-1", "finalist-2", "finalist-3", "training"}
    assert journal.results == results_in(tmp_path)
    assert journal.results.test.accuracies["training"].value == result.accuracy


@pytest.mark.parametrize(("data", "classes"), [("digits", 10), ("fractal:3", 3)])
def test_generated_pictures_need_no_folder(
    data: str, classes: int, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvit.designs.pictures._FRACTALS", 6)
    monkeypatch.setattr("asvit.designs.pictures._FRACTAL_SIDE", 8)
    limits = {"max_params": "100K", "space": SPACE}
    result = design(data, out=tmp_path / "run", **limits)
    assert len(result.classes) == classes
    (folder,) = (tmp_path / "run").glob("pictures-*")
    assert len([*folder.iterdir()]) == classes
    fakes.calls.clear()
    assert without_times(design(data, out=tmp_path / "run", **limits)) == without_times(result)
    assert fakes.calls == []


def test_weights_of_fractals_are_of_other_fractals_than_those_of_a_trial() -> None:
    pictures, seed = open_pictures("fractal:3"), DesignSettings(data="fractal:3").seed
    known = FractalDataset(3, 60, 64, seed=seed)
    names, others = ({one.name(at) for at in range(len(one))} for one in (pictures, known))
    assert len(names) == len(others) == 180
    assert names.isdisjoint(others)
    first, other = (np.asarray(one.picture(0)) for one in (pictures, known))
    assert first.shape == other.shape
    assert (first != other).any()


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


@pytest.fixture
def large(tmp_path: Path) -> Path:
    for number in range(10):
        path = tmp_path / "large" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (700, 500), (number, 0, 0)).save(path)
    return tmp_path / "large"


def test_large_pictures_make_images_of_224_pixels(
    large: Path, tmp_path: Path, fakes: Fakes
) -> None:
    result = design(large, max_params="100K", space=SPACE, out=tmp_path / "run")
    assert result.image_size == 224


@pytest.mark.parametrize(
    ("limits", "epochs", "side"),
    [
        ({"max_macs": "140M"}, 100, 224),
        ({"max_macs": "60M"}, 100, 160),
        ({"max_macs": "60M"}, 300, 224),
        ({"max_macs": "20M"}, 100, 96),
        ({"max_macs": "20M"}, 300, 160),
        ({"max_macs": "1M"}, 300, 64),  # the smallest
        ({"max_macs": "10M", "image_size": 192}, 100, 192),
        # Smaller images do not allow a wider network.
        ({"max_macs": "140M", "max_params": "100K"}, 100, 224),
        ({"max_latency": "1ms"}, 100, 160),
    ],
)
def test_images_are_as_large_as_a_network_within_the_limits_can_see(
    limits: dict[str, Any],
    epochs: int,
    side: int,
    large: Path,
    tmp_path: Path,
    fakes: Fakes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def latency(_plan: DesignPlan, text: str, at: int) -> Latency:
        took = cost(text, at, 2).macs / 70e6
        return Latency(took, 0.1, 1.0, 10, 1.0, "fake", 1, "eager", 1, at)

    monkeypatch.setattr(DesignPlan, "latency", latency)
    monkeypatch.setattr(fitting, "enough_epochs", lambda _steps: epochs)
    result = design(large, space=SPACE, out=tmp_path / "run", **limits)
    assert result.image_size == side
    warnings = [line for line in caplog.messages if "images are seen at" in line]
    assert len(warnings) == (side < 224 and "image_size" not in limits)
    if warnings:
        assert f"at {side} px" in warnings[0]
        assert "image_size=224 keeps them" in warnings[0]


def test_images_are_as_large_as_a_network_that_time_pays_for_can_see(
    large: Path, tmp_path: Path, fakes: Fakes
) -> None:
    sides = []
    for hours in (0.5, 10, 50, 500):
        folder = tmp_path / str(hours)
        result = design(large, max_params="9M", hours=hours, space=SPACE, out=folder)
        plan = results_in(folder).plan
        assert plan.image_size <= result.image_size
        for racer in result.last_round:
            pixels = result.image_size**2
            macs = cost(racer.architecture, result.image_size, 2).macs
            assert macs >= 0.8 * fitting.PER_PIXEL / 4 * pixels or result.image_size == 64
        sides.append(result.image_size)
    assert sides[0] == 64  # the smallest
    assert sides[-1] == 224
    assert sides == sorted(sides)
    assert len(set(sides)) > 2


def test_a_network_that_is_too_slow_is_made_narrower(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    result = design(pictures, max_params="150K", max_latency="0.9ms", space=SPACE, out=tmp_path)
    for model in (result, result.hand_made):
        assert model.latency_ms <= 0.9
    assert load_space("asvit").parse(result.architecture).width >= 6
    with pytest.raises(ValueError, match=r"takes 0\.\d+ ms, more than the 0\.05 ms allowed"):
        design(pictures, max_latency="0.05ms", space=SPACE, out=tmp_path / "slow")
    assert fakes.calls.count("search") == 1  # the second was refused before


@pytest.mark.parametrize("milliseconds", [1.0, 4.0, 30.0])
def test_networks_are_as_wide_as_a_limit_of_latency_alone_allows(
    milliseconds: float, pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.slow = {"": 0.3}  # a pass takes as long at least
    run = DesignRun.make(
        data=str(pictures), max_latency=milliseconds, space=SPACE, image_size=64, out=tmp_path
    )
    assert f": at most {milliseconds:g} ms for 1 image(s)" in run.title
    result = run.run()
    for racer in result.last_round:
        assert 0.7 * milliseconds <= 0.1 * load_space(SPACE).parse(racer.architecture).width
    assert result.latency_ms <= 0.9 * milliseconds
    assert fakes.calls.count("latency") < 30


def test_networks_that_latency_alone_limits_are_narrowed_where_time_is_short(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_latency": "30ms", "space": SPACE, "image_size": 64}
    whole = design(pictures, **limits, out=tmp_path / "whole")
    brief = design(pictures, **limits, hours=0.1, out=tmp_path / "brief")
    assert brief.macs < 0.3 * whole.macs
    assert all(racer.narrowed for racer in brief.last_round)


def test_widths_of_a_design_are_multiples(pictures: Path, tmp_path: Path, fakes: Fakes) -> None:
    options: dict[str, Any] = {"max_params": "150K", "space": SPACE, "width_multiple": 4}
    for name, more in (("sized", {}), ("timed", {"max_latency": "0.7ms"})):
        result = design(pictures, **options, **more, out=tmp_path / name)
        assert load_space("asvit").parse(result.architecture).width % 4 == 0


def test_another_limit_goes_on_after_the_search_until_a_network_is_chosen(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    seed = load_space(SPACE).by_hand[0]
    fakes.slow = {text.rpartition("|")[0]: 3.0 for text in (*TEXTS, seed)}
    with pytest.raises(ValueError, match="takes 3 ms, more than the 2 ms allowed; the same comm"):
        design(pictures, max_latency="2ms", max_params="150K", space=SPACE, out=tmp_path)
    assert fakes.calls.count("search") == 1
    result = design(pictures, max_latency="4ms", max_params="200K", space=SPACE, out=tmp_path)
    assert fakes.calls.count("search") == 1
    assert result.latency_ms == 3.0
    assert 150_000 < result.params <= 200_000
    with pytest.raises(ValueError, match=r"was started with other settings: max_latency 4.0 \(no"):
        design(pictures, max_latency="5ms", max_params="200K", space=SPACE, out=tmp_path)
    again = design(pictures, max_latency="4ms", max_params="200K", space=SPACE, out=tmp_path)
    assert without_times(again) == without_times(result)


def test_a_limit_of_sizes_is_added_to_one_of_latency(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.stop_in("search", pictures, max_latency="4ms", space=SPACE, out=tmp_path)
    result = design(pictures, max_latency="4ms", max_params="150K", space=SPACE, out=tmp_path)
    assert result.params <= 150_000


def test_a_limit_of_sizes_makes_way_for_one_of_latency(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.stop_in("search", pictures, max_params="150K", space=SPACE, out=tmp_path)
    result = design(pictures, max_latency="4ms", space=SPACE, out=tmp_path)
    assert fakes.multiples == [1, 1]
    assert result.latency_ms <= 4.0


def test_a_search_goes_on_with_the_limit_that_it_was_planned_with(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.stop_in("search", pictures, max_params="150K", space=SPACE, out=tmp_path)
    design(pictures, max_params="200K", space=SPACE, out=tmp_path)
    assert fakes.searched == [150_000, 150_000]


def test_a_search_goes_on_with_the_widths_that_it_was_planned_with(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limit: dict[str, Any] = {"max_latency": "4ms", "space": SPACE, "out": tmp_path}
    fakes.stop_in("search", pictures, **limit)
    design(pictures, max_params="150K", width_multiple=4, **limit)
    assert fakes.multiples == [None, None]


def test_a_search_that_goes_on_times_no_network_again(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limit: dict[str, Any] = {"max_latency": "4ms", "space": SPACE, "out": tmp_path}
    fakes.stop_in("search", pictures, **limit)
    assert "latency" in fakes.calls
    fakes.calls.clear()
    fakes.stop_in("search", pictures, **limit)
    assert fakes.calls == ["search"]


def test_a_teacher_is_looked_at_before_anything_else_and_until_it_has_taught(
    pictures: Path, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(
        "asvit.runs.algorithms.designing.load_teacher",
        lambda settings, _classes, _kind: read.append(settings.image_size),
    )
    given: dict[str, Any] = {
        "max_params": "100K", "space": SPACE, "teacher": TEXTS[0], "teacher_weights": "theirs",
        "out": tmp_path,
    }  # fmt: skip
    fakes.stop_in("test training", pictures, **given)
    assert {*read} == {224, 64}
    read.clear()
    design(pictures, **given)
    assert read == []


def test_stages_are_told_with_what_is_done_in_them(
    pictures: Path, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(run: TrainAlgorithm) -> object:
        run.progress(Progress("epoch", 1, 2))
        return fakes.train(run)

    monkeypatch.setattr(TrainAlgorithm, "run", train)
    told: list[Progress] = []
    design(pictures, max_params="100K", space=SPACE, out=tmp_path, progress=told.append)
    stages = [one.stage for one in told if one.stage and one.unit == "stage"]
    assert [(one.name, one.place, one.total) for one in stages] == [
        (name, place, 13) for place, name in enumerate(STAGES, 1)
    ]
    epochs = [one.stage for one in told if one.stage and one.unit == "epoch"]
    assert [one.name for one in epochs] == [*STAGES[5:8], "training"]
    assert all(one.planned > 100 for one in epochs)  # epochs of the plan
    assert {one.stage.name for one in told if one.stage and one.unit == "image"} == {"pictures"}


def test_starting_over_removes_what_stages_would_go_on_from(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    """They would refuse other settings, once a session without ``fresh`` comes to them."""
    limits = {"max_params": "100K", "space": SPACE, "out": tmp_path}
    design(pictures, **limits)
    old = [tmp_path / stage / name for stage, name in [
        ("search", JOURNAL), ("finalist-1", CHECKPOINT),
        ("finalist-2-fractals", CHECKPOINT), ("training", RESULT),
    ]]  # fmt: skip
    old += [tmp_path / name for name in ("timm/config.json", "model.md", "model-int8.md")]
    own = tmp_path / "training" / "notes.txt"
    for path in (*old, own):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    teacher = {"teacher": TEXTS[0], "teacher_weights": str(tmp_path)}
    for needed in ({"pretrained": str(tmp_path / "training")}, teacher):
        with pytest.raises(ValueError, match="is in the folder that --fresh empties"):
            design(pictures, fresh=True, **limits, **needed)
    assert all(path.exists() for path in (*old, own))
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    assert drawn >= {"race.svg", "confusion.svg"}
    fakes.stop_in("search", pictures, fresh=True, **limits)
    assert [path for path in (*old, own) if path.exists()] == [own]
    assert not [*tmp_path.glob("*.svg"), *tmp_path.glob("race.csv")]


@pytest.mark.parametrize("kept", [True, False])
def test_a_copy_in_8_bits_that_loses_too_much_is_left_out_and_said(
    kept: bool, pictures: Path, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(**given: Any) -> object:
        made = fakes.export(**given)
        if not given.get("int8"):
            return made
        assert given["with_preprocessing"]
        if not kept:
            raise ValueError("int8 changes it by -4.0 points")
        return SimpleNamespace(
            **vars(made), quantisation=SimpleNamespace(in_words="-0.5 points [-2.0, +1.0]")
        )

    monkeypatch.setattr(design_copies, "export_network", export)
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path, int8=True)
    assert ("model-int8.onnx" in result.exports) is kept
    words = "-0.5 points [-2.0, +1.0]" if kept else "left out: int8 changes it by -4.0 points"
    assert result.int8 == words
    assert f"int8: {words}" in [str(part) for part in DesignRun.summary(result)]
    assert len(result.exports) == 3 + kept


@pytest.mark.parametrize(
    "reason", ["the format onnx needs onnx", "the copy is not equal: on 1 image(s)"]
)
def test_a_copy_without_its_libraries_or_that_differs_is_left_out_and_named(
    reason: str,
    pictures: Path,
    tmp_path: Path,
    fakes: Fakes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def check(form: Format) -> None:
        if form.name == "onnx" and "needs" in reason:
            raise ImportError(reason)

    def export(**options: Any) -> object:
        if options["to"] == "onnx" and "needs" not in reason:
            raise ValueError(reason)
        return fakes.export(**options)

    monkeypatch.setattr(Format, "check_libraries", check)
    monkeypatch.setattr(design_copies, "export_network", export)
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    assert [*result.exports] == ["timm", "model.safetensors"]
    assert f"there is no model.onnx: {reason}" in caplog.text


def test_an_interrupt_names_the_stage(pictures: Path, tmp_path: Path, fakes: Fakes) -> None:
    fakes.stop_at = "finalist-2"
    words = ["design", "--data", pictures, "--max-params", "100K", "--out", tmp_path]
    ended = run(*words, "--space", SPACE)
    assert "stopped in stage finalist-2, before its first step; to go on: asvit" in ended.stderr
    assert "finalist-2 (7 of 13), 0:" in ended.stderr
    assert "20 pictures are few to train on from scratch; fine-tuning pret" in ended.stderr


def test_little_time_makes_smaller_networks_and_shorter_trainings(
    pictures: Path, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def estimate(settings: Any, *_: object) -> float:
        told.append(settings.trainings)
        return 1_000.0

    monkeypatch.setattr(design_search, "training_seconds", estimate)
    given = {"max_params": "9M", "hours": 0.05, "image_size": 64, "space": SPACE}
    result = design(pictures, out=tmp_path, **given)
    plan = results_in(tmp_path).plan
    share = SHARES["search"] * 180 / 1_000
    assert plan.trainings == 5
    assert plan.paces is None  # one family
    assert set(told) == {24}
    assert plan.training_steps == round(1_400 * share * 24 / 5)
    assert result.params < 4_000_000  # as wide as allowed it would be 9 M
    training = fakes.trained["training"]
    assert 100 / 3600 < (training.hours or 0) < SHARES["training"] * 180 / 3600 * 1.2
    assert training.epochs == 3_000  # at most
    assert result.epochs == 1  # of the training that stands for it


def test_the_time_of_a_search_is_that_of_the_pictures_there_are(
    pictures: Path, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[tuple[int, int]] = []

    def estimate(settings: Any, *_: object) -> float:
        counts.append((settings.train_images, settings.test_images))
        return 600.0

    monkeypatch.setattr(design_search, "training_seconds", estimate)
    design(pictures, max_params="100K", hours=1.0, space=SPACE, image_size=64, out=tmp_path)
    assert {*counts} == {(12, 3)}


def test_networks_have_the_updates_that_pay_for_their_size(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "9M", "image_size": 64, "space": SPACE}
    widest = design(pictures, out=tmp_path / "widest", **limits)
    result = design(pictures, out=tmp_path / "timed", hours=0.5, **limits)
    assert widest.params > 8_000_000
    assert "too briefly" not in widest.outcome
    assert not any(racer.narrowed for racer in widest.race)
    assert "of 9,000,000 parameters (a larger one would be trained too briefly)" in result.outcome
    assert len(result.last_round) > 1
    for racer in result.last_round:
        assert racer.narrowed
        macs = cost(racer.architecture, 64, 2).macs
        time = 1_800 * SHARES["training"]
        updates = 10 * time / (macs / 1e6)  # as fakes.plan has it
        assert 0.9 * fitting._PAYING <= updates / macs <= 2 * fitting._PAYING
    assert {*fakes.calls} >= {"finalist-1", "finalist-2"}


@pytest.mark.parametrize(
    ("macs", "updates"), [(10**6, 10.0), (10**7, 500.0), (10**9, 500.0), (10**9, 19_000.0)]
)
def test_multiply_adds_that_pay_take_the_same_time_with_more_updates(
    macs: int, updates: float
) -> None:
    paying = fitting.paying_macs(macs, updates)
    assert paying <= macs
    more = updates * macs / paying
    wanted = min(fitting._PAYING * paying, fitting._UPDATES)
    assert more == pytest.approx(wanted, rel=0.01)
    assert fitting.paying_macs(paying, 1.01 * more) == paying


@pytest.mark.parametrize(("macs", "updates"), [(10**6, 500.0), (10**9, 20_000.0), (1, 1.0)])
def test_networks_with_enough_updates_stay_as_large(macs: int, updates: float) -> None:
    assert fitting.paying_macs(macs, updates) == macs


def test_fewer_families_race_where_time_is_short(
    pictures: Path, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(design_search, "training_seconds", lambda *_: 10_000.0)
    monkeypatch.setattr(design_search, "paces", lambda *_: ("resnet=2", 10_000.0))
    families = ["resnet", "shiftvit", "asvit", "swin", "deit", "starnet"]
    options = {"max_params": "100K", "image_size": 64, "space": ",".join(families)}
    plans, finalists = list[SearchPlan](), list[int]()
    for hours in (0.1, 2.0):
        folder = tmp_path / str(hours)
        design(pictures, out=folder, hours=hours, **options)
        plans.append(results_in(folder).plan)
        finalists.append(len(results_in(folder).finalists.networks))
    assert plans[0].space == ",".join(families[:5])  # 60 of the 33,600 steps
    assert plans[0].trainings == 5
    assert plans[1].space == options["space"]  # 8 times 150 steps
    assert finalists == [2, 3]


def entry(family: str, *, by_hand: bool = True, architecture: str = "") -> Entrant:
    text = architecture or f"{family} {by_hand}"
    return Entrant(architecture=text, family=family, by_hand=by_hand)


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
    found = [*contenders(entries, "resnet")]
    assert found[0] == entries[0]
    assert " ".join(one.family for one in found) == order


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
    settings = DesignSettings(data="digits", max_macs=10_000_000, balance="none")
    network = entry("resnet", architecture="timm:resnet18")
    for validation, count in ((0, 5), (60, 5), (3, 3)):
        facts = picture_facts("abcde", 300, validation=validation, sizes=[60] * 5)
        results = last_round(facts, [network], [50.0])
        results["choice"] = Choice(
            winner="finalist-1", by_hand=None, accuracies={}, epochs=9, seconds={}
        )
        plan = DesignPlan(settings, tmp_path, results, lambda: 0.0, lambda _: {})
        assert plan.trainings.winner().settings.validation_images == count


def test_finalists_are_trained_equally_long_where_time_is_short(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    options = {"max_params": "200K", "hours": 0.1, "image_size": 64, "space": SPACE}
    result = design(pictures, out=tmp_path, **options)
    networks, lengths = results_in(tmp_path).finalists.networks, results_in(tmp_path).epochs
    assert len(networks) == len(result.last_round) == 3
    share = SHARES["last round"] / (SHARES["last round"] + SHARES["training"])
    for place, network in enumerate(networks, 1):
        trained = fakes.trained[f"finalist-{place}"]
        seconds = 3600 * (trained.hours or math.inf)
        assert seconds == pytest.approx(share * 330 / 3, rel=0.02)
        assert trained.train_images is None
        whole = trained.epochs * cost(network.architecture, 64, 2).macs / 1e6
        assert lengths.seconds[f"finalist-{place}"] == pytest.approx(min(seconds, whole))
    assert [racer.epochs for racer in result.last_round] == [1, 1, 1]  # of the fakes


@pytest.mark.parametrize(
    ("how", "few", "warm"),
    [
        ("auto", 2_000, ["finalist-2"]),
        ("auto", 10, []),
        ("fractals", 10, ["finalist-1", "finalist-2", "finalist-3"]),
        ("none", 2_000, []),
    ],
)
def test_a_resnet_learns_few_pictures_from_weights_of_fractals(
    how: str,
    few: int,
    warm: list[str],
    pictures: Path,
    tmp_path: Path,
    fakes: Fakes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fractals, "FRACTALS_BELOW", few)
    fakes.validation = {"finalist-2": 99.0}
    result = design(
        pictures, max_params="300K", space="resnet,asvit", warm_start=how, out=tmp_path
    )
    last = [racer.family for racer in result.race if racer.round == "last"]
    assert last == ["asvit", "resnet", "asvit"]
    for name in ("finalist-1", "finalist-2", "finalist-3"):
        before = f"{name}-fractals"
        assert (before in fakes.trained) == (name in warm)
        if name not in warm:
            assert fakes.trained[name].weights is None
            continue
        assert fakes.calls.index(before) < fakes.calls.index(name)
        first, then = fakes.trained[before], fakes.trained[name]
        assert (first.data, first.train_images, first.epochs) == ("fractal:100", 8_000, 20)
        assert (first.weights, first.architecture) == (None, then.architecture)
        assert (then.weights, then.new_head) == (str(tmp_path / before), True)
        seconds = results_in(tmp_path).epochs.seconds
        macs = cost(then.architecture, then.image_size, 2).macs
        whole = fitting.enough_epochs(10) * macs / 1e6
        assert seconds[name] == pytest.approx(whole + 8_000 * 20 / 10)  # images a second
    assert result.family == "resnet"
    assert result.fractals == (20 if warm else 0)
    assert len([c for c in result.commands if "fractal:100" in c]) == len(warm)
    assert ("began with weights" in (tmp_path / "report.html").read_text()) == bool(warm)


def test_little_time_on_fractals_takes_fewer_of_them(caplog: pytest.LogCaptureFixture) -> None:
    settings = DesignSettings(data="digits", max_macs=10_000_000)
    few, many = (
        fractals.begins_with_them(settings, first_family(settings), picture_facts("ab", count))
        for count in (300, 5_000)
    )
    parts = shares(fractals=few)
    assert sum(parts.values()) == pytest.approx(1)
    assert shares(fractals=many) == SHARES
    seconds = parts["fractals"] * 3_600
    left = Hours(1.0, lambda: 0.0).left_for("fractals")  # a little more: no search has taken time
    for speed, least in ((1_000.0, 20), (200.0, 10), (20.0, 3)):
        ((pictures, epochs),) = fractals.lengths({"finalist-1": speed}, left).values()
        assert epochs >= least
        assert 0.7 * seconds <= pictures * epochs / speed <= 1.4 * seconds or epochs == 20
        both = fractals.lengths({"finalist-1": speed, "finalist-2": speed}, left)
        assert max(images * n for images, n in both.values()) <= pictures * epochs
    assert caplog.text == ""
    assert fractals.lengths({"finalist-1": 2.0}, left) == {}  # too few to be worth it
    assert "finalist-1 begins without weights of fractals: there is time for " in caplog.text


def test_the_last_round_takes_fewer_pictures_where_two_epochs_are_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"finalist-1": "timm:resnet10t(channels=[8,16,32,64],layers=[1,1,1,1],stem_width=4)",
             "finalist-2": "4,2,2|2,1,2|2,1,2|2,1,2|16,24"}  # fmt: skip
    took = {"finalist-1": 4.0, "finalist-2": 40.0}  # seconds of an epoch
    networks = [entry("resnet", architecture=text) for text in names.values()]
    results = last_round(picture_facts("ab", 5_000), networks, [0.0, 99.0])
    plan = plan_of(results, tmp_path, hours=0.1, image_size=32)
    plans = {
        name: {"steps_per_epoch": 60, "time": {"epoch": seconds, "images_per_second": 1.0}}
        for name, seconds in took.items()
    }
    monkeypatch.setattr(
        Trainings, "finalist", lambda _, name, _epochs: SimpleNamespace(plan=lambda: plans[name])
    )
    found = plan.epochs()
    share = SHARES["last round"] / (SHARES["last round"] + SHARES["training"])
    time = share * 330 / 2
    assert found.hours == pytest.approx(time / 3600)
    assert found.pictures == dict.fromkeys(names, int(time / 80 * 4_000))
    assert found.seconds == pytest.approx(dict.fromkeys(names, time))
    # An epoch of all pictures is expected to take as long for each as it did.
    fewer, results["epochs"] = found.pictures["finalist-2"], found
    epoch = fewer + 1_000 / 3  # images to train on that would take as long
    for name, speed in (("finalist-1", 1_083), ("finalist-2", 500)):
        results[name] = replace(results[name], epoch_seconds=epoch / speed)
    choice = plan.choice()
    assert choice.winner == "finalist-2"
    assert choice.epochs == -(-20_000 // 78)
    assert choice.seconds["training"] == 3600 * (choice.hours or 0) == pytest.approx(330)
    plan.settings = replace(plan.settings, hours=None)
    assert plan.choice().seconds["training"] / choice.epochs == pytest.approx(5_000 / 500)


def test_pictures_of_a_table_are_trained_and_tested_apart(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    table = tmp_path / "images.csv"
    sets = open_training_sets(str(table), image_size=32, seed=0)
    kept = ListedDataset(table, TEST)
    names = [{one.name(n) for n in range(len(one))} for one in (sets.train, sets.validation, kept)]
    assert [len(one) for one in names] == [13, 2, 4]
    assert len(set.union(*names)) == 19
    assert sets.classes == kept.classes == ("class0", "class1")


@pytest.mark.parametrize(
    ("parts", "counts"),
    [
        (("train", "val", "test"), (24, 20, 20)),
        (("train", "valid"), (22, 2, 20)),
        (("train", "test"), (22, 2, 20)),
    ],
)
def test_a_layout_of_parts_is_trained_and_tested_on_its_own(
    parts: tuple[str, ...], counts: tuple[int, ...], tmp_path: Path, fakes: Fakes
) -> None:
    for seed, name in enumerate(parts):
        each = 12 if name == "train" else 10
        folder = write_pictures(tmp_path / "data" / name, each=each, seed=seed)
        (folder / "class1" / ("023.jpg" if name == "train" else "019.jpg")).unlink()
        write_pictures(tmp_path / "more", each=13, seed=3 + seed)
        (tmp_path / "more" / "class1" / "001.jpg").rename(folder / "class1" / "900.jpg")
    result = design(tmp_path / "data", max_params="100K", space=SPACE, out=tmp_path / "run")
    table = tmp_path / "run" / "images.csv"
    sets = open_training_sets(str(table), image_size=32, seed=0)
    kept = ListedDataset(table, TEST)
    assert (len(sets.train), len(sets.validation), len(kept)) == counts
    assert {Path(kept.name(n)).parent.parent.name for n in range(len(kept))} == {parts[-1]}
    assert (result.train_pictures, result.test_pictures) == (sum(counts[:2]), 20)
    facts = results_in(tmp_path / "run").pictures
    assert facts.validation == (counts[1] if len(parts) == 3 else 0)
    told = run("design", "--data", tmp_path / "data", "--max-params", "1M", "--dry-run")
    assert f"pictures {sum(counts)} of 2 classes" in told.stdout


def test_no_part_of_a_layout_has_copies_of_another(tmp_path: Path, fakes: Fakes) -> None:
    for seed, name in enumerate(("train", "val", "test")):
        write_pictures(tmp_path / "data" / name, seed=seed)
    data = tmp_path / "data"
    for source, target in (
        ("test/class0/000.jpg", "train/class0/copy.jpg"),
        ("test/class0/000.jpg", "test/class0/copy.jpg"),
        ("val/class1/001.jpg", "train/class1/copy.jpg"),
        ("test/class0/002.jpg", "val/class1/other.jpg"),
    ):
        shutil.copy(data / source, data / target)
    design(data, max_params="100K", space=SPACE, out=tmp_path / "run")
    table = (tmp_path / "run" / "images.csv").read_text()
    assert table.count("test/class0/000.jpg") == table.count("val/class1/001.jpg") == 1
    for name in ("copy.jpg", "other.jpg", "test/class0/002.jpg"):
        assert name not in table  # the last two are in two classes


def test_a_layout_whose_parts_do_not_suit_is_refused(tmp_path: Path, fakes: Fakes) -> None:
    write_pictures(tmp_path / "few" / "train", each=3)
    write_pictures(tmp_path / "few" / "test", each=10, seed=1)
    with pytest.raises(ValueError, match=r"'class0' has 3 readable picture\(s\) to train on"):
        design(tmp_path / "few", max_params="1M", out=tmp_path / "run")
    told = run("design", "--data", tmp_path / "few", "--max-params", "1M", "--dry-run")
    assert "class 'class0' has 3 readable picture(s) to train on; it needs 4" in told.stderr
    write_pictures(tmp_path / "other" / "train", classes=3)
    write_pictures(tmp_path / "other" / "test", classes=2)
    with pytest.raises(ValueError, match=r"class 'class2' of .* is missing"):
        design(tmp_path / "other", max_params="1M", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_test_of_one_picture_is_refused_before_anything_is_trained(
    tmp_path: Path, fakes: Fakes
) -> None:
    write_pictures(tmp_path / "data" / "train")
    write_pictures(tmp_path / "data" / "test", each=1, seed=1)  # of which one is truncated
    with pytest.raises(ValueError, match=r"there are 1 readable picture\(s\) to test on"):
        design(tmp_path / "data", max_params="100K", space=SPACE, out=tmp_path / "run")
    assert fakes.calls == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "a design needs a limit"),
        ({"max_params": 9, "space": SPACE}, "none of 1,000 architectures drawn is within"),
        ({"max_params": "5 M"}, "'5 M' is not a number from 1"),
        ({"max_latency": "0ms"}, "'0ms' is not a time above 0"),
        ({"max_latency": "5min"}, "'5min' is not a time above 0"),
        ({"max_params": "1M", "hours": 0}, "hours must be a number above 0"),
        (
            {"max_params": "1M", "teacher": "timm:deit_tiny_patch16_224"},
            "a teacher and its weights",
        ),
        ({"max_params": "1M", "space": "nowhere"}, "unknown space 'nowhere'"),
        ({"max_params": "1M", "teacher": TEXTS[0], "teacher_weights": "none"}, "weights 'none'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    given: dict[str, Any], words: str, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        design(pictures, out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_pictures_that_do_not_suit_are_refused(tmp_path: Path) -> None:
    one = write_pictures(tmp_path / "one", classes=1)
    few = write_pictures(tmp_path / "few", each=4)
    for folder, words in ((one, "pictures of one class"), (few, r"has \d readable picture\(s\)")):
        with pytest.raises(ValueError, match=words):
            design(folder, max_params="1M", out=tmp_path / "run")
    told = run("design", "--data", few, "--max-params", "1M", "--dry-run")
    assert (told.exit_code, told.stdout) == (3, "")
    assert (
        "class 'class0' has 4 readable picture(s); to train, validate and test it" in told.stderr
    )
    with pytest.raises(FileNotFoundError, match="no folder"):
        design(tmp_path / "none", max_params="1M", out=tmp_path / "run")


def test_what_is_wrong_with_pictures_is_said_before_they_are_too_few(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for label in ("dry", "wet"):
        (tmp_path / "empty" / label).mkdir(parents=True)
        for number in range(6):
            np.save(tmp_path / f"empty/{label}/{number}.npy", np.zeros((40, 40, 0), np.uint16))
    with pytest.raises(ValueError, match=r"class 'dry' has 0 readable picture\(s\)"):
        design(tmp_path / "empty", max_params="1M", out=tmp_path / "run")
    (told,) = [record.getMessage() for record in caplog.records]
    assert "12 picture(s) cannot be read and are left out: dry/0.npy (" in told
    assert "channel" in told


def test_a_dry_run_tells_what_is_done_and_writes_nothing(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    words = ["design", "--data", str(pictures), "--max-params", "100K", "--out", tmp_path / "run"]
    words += ["--space", SPACE]
    told = run(*words, "--dry-run", "--json", "--quiet")
    content = json.loads(told.stdout)
    assert (content["pictures"], content["done"], content["next"]) == (20, [], STAGES)
    assert not (tmp_path / "run").exists()
    assert content["seconds"]["search"] == 600
    assert content["seconds"]["training"] == content["seconds"]["finalist-1"] > 0
    told = run(*words, "--dry-run", "--hours", "0.0087")
    assert (told.exit_code, told.stdout) == (3, "")
    assert "--hours 0.0087 (0:31) are too few: the shortest search, two epochs" in told.stderr
    told = run(*words, "--dry-run", "--hours", "0.008")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "--hours 0.008 are too few: tests and copies take 30 s (see" in told.stderr
    assert "time     6:00, or about " in run(*words, "--dry-run", "--hours", "0.1").stdout
    fakes.stop_in("training", pictures, max_params="100K", space=SPACE, out=tmp_path / "run")
    told = run(*words, "--dry-run")
    assert "time     about " in told.stdout
    assert "if nothing is cut short: training " in told.stdout
    assert f"done     {', '.join(STAGES[:9])}\n" in told.stdout
    assert "next     training, test, latency, export\n" in told.stdout
    told = run("design", "--data", pictures, "--dry-run")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "a design needs a limit; give --max-params, --max-macs or --max-lat" in told.stderr


def test_hours_that_are_too_few_are_refused_before_the_search_and_more_go_on(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "100K", "space": SPACE}
    with pytest.raises(ValueError, match=r"hours=0\.0087 \(0:31\) are too few"):
        design(pictures, hours=0.0087, out=tmp_path, **limits)
    assert fakes.calls == []
    assert design(pictures, hours=0.1, out=tmp_path, **limits).settings.hours == 0.1


@pytest.mark.nightly  # one of images of 5 channels is whole, too; others have int8 and the script
def test_a_whole_design_and_what_its_copies_say(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = {"max_params": "60K", "trainings": 5, "image_size": 32, "device": "cpu",
             "space": "asvit-parts,resnet"}  # fmt: skip
    words = ["design", "--data", str(pictures), "--out", "run", "--int8"]
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    given["int8"] = True
    assert forked.run(forked.command, words, tmp_path, prepare=shorten_designs) == 0
    printed = forked.printed(tmp_path, forked.STDOUT)
    assert "class1/019.jpg" in printed.partition("Pictures that could not be read")[2]
    result = DesignResult.read(out / "result.json")
    assert result.params <= 60_000
    copies = {"timm", "model.onnx", "model.safetensors"}
    if "model-int8.onnx" in result.exports:  # chance decides, with a handful of test pictures
        copies |= {"model-int8.onnx"}
        assert f"of accuracy on {result.test_pictures} pictures" in result.int8
    else:
        assert result.int8.startswith("left out: int8 changes it by -")
    assert f"int8: {result.int8}"[:70] in " ".join(printed.split())
    assert set(result.exports) == copies
    files = sorted((pictures / "class0").glob("*.jpg"))[:3]
    card = (out / "timm" / "README.md").read_text()
    assert "* limits: at most 60,000 parameters" in card
    mean, interval = result.accuracy, result.accuracy_interval
    told = f"* accuracy: {mean:.1f} % \\[{interval.low:.1f}, {interval.high:.1f}\\] of"
    assert told in card
    assert "* latency: " in card
    by_each = [
        [one.guesses[0].label for one in asvit.predict(out / name, files, device="cpu")]
        for name in (".", "model.onnx", "timm/model.safetensors")
    ]
    assert by_each[0] == by_each[1] == by_each[2]
    told = subprocess.run(
        [sys.executable, "predict.py", "model.onnx", *map(str, files)],
        cwd=out,
        check=True,
        capture_output=True,
        text=True,
    )
    shares = [json.loads(line)["probabilities"] for line in told.stdout.splitlines()]
    assert [max(one, key=one.__getitem__) for one in shares] == by_each[0]
    again = DesignRun.make(data=str(pictures), out=out, **given).run()
    assert again.to_json() == result.to_json()


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
    given = {"max_params": "100K", "space": SPACE, **more}
    folder = uneven(pictures, tmp_path / "uneven", 10 + fewer)
    result = design(folder, out=tmp_path / "run", **given)
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
    title = DesignRun.make(data=str(folder), **given).title
    told = "and networks and epochs are compared by balanced accuracy"
    assert (told in title) == (balance != "none")
    assert result.balanced_accuracy == 100.0
    low, high = result.balanced_accuracy_interval
    assert low < 90 < high == 100
    assert result.hand_made.balanced_accuracy < 100


def test_few_pictures_of_a_class_make_balanced_accuracies_less_sure(tmp_path: Path) -> None:
    def winner(sizes: list[int], lead: float) -> str:
        facts = picture_facts("ab", sum(sizes), sizes=sizes)
        networks = [entry("swin"), entry("resnet")]
        results = last_round(facts, networks, [60.0 + lead, 60.0], epochs=99)
        return plan_of(results, tmp_path, space="resnet,swin").choice().winner

    assert winner([3_000, 3_000], 6.0) == "finalist-1"  # 1,200 to validate with: two errors are 4
    assert winner([5_900, 100], 6.0) == "finalist-2"  # as many as 79 of even classes would be: 15
    assert winner([5_900, 100], 16.0) == "finalist-1"
