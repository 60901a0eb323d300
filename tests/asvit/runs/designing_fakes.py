"""What tests of designs share: networks, pictures, and stand-ins for what takes long."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from asvit.core.command_line import command_line
from asvit.core.estimates import Interval
from asvit.data.kinds import PICTURES
from asvit.designs.result import DesignResult
from asvit.designs.settings import DesignSettings
from asvit.designs.stages import (
    FINALISTS,
    Entrant,
    Finalists,
    Lengths,
    PictureFacts,
    SearchOutcome,
    SearchPlan,
    Stage,
    StageResults,
    TrainingOutcome,
)
from asvit.measuring.latency import Latency
from asvit.runs.algorithms import design_copies, design_search, design_testing, design_trainings
from asvit.runs.algorithms.design_plan import DesignPlan
from asvit.runs.designing import DESIGN, design
from asvit.runs.run_folder import RunFolder
from asvit.search.limits import Limits
from asvit.search.result import Confirmed, PredictorCheck
from asvit.search.settings import ACCURACY
from asvit.spaces import cost, load_space
from asvit.spaces.architectures import parse
from asvit.training.settings import TrainSettings
from tests.asvit.runs.fakes import write_pictures

TEXTS = ["8,8,3|2,1,3|4,1,2|4,1,2|16", "4,4,2|2,2,2|2,1,2|2,1,2|16"]
SPACE = "asvit"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("design") / "pictures")


class Fakes:
    """In place of what takes long; tells what was called, and stops where it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.card: dict[str, str] = {}
        self.searched: list[int | None] = []  # limits
        self.multiples: list[int | None] = []  # of the widths of searches
        self.stop_at = ""
        self.failing: dict[str, Exception] = {}  # stages, and what they raise
        self.slow: dict[str, float] = {}  # beginnings of texts: milliseconds at any width
        self.validation = {"finalist-1": 60.0}  # accuracies
        self.trained: dict[str, TrainSettings] = {}  # folder to settings
        self.balances: dict[str, str] = {}  # how runs balance classes
        self.prepared: dict[str, tuple[str, str]] = {}  # how they fit pictures, and on what
        self.check = PredictorCheck(0.3, Interval(0.1, 0.6), 9)
        self.pictures = 10_000  # of a training
        self.ran = 0.0  # seconds of a run in all its sessions

    def called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.stop_at:
            raise KeyboardInterrupt
        if name in self.failing:
            raise self.failing[name]

    def stop_in(self, stage: str, *args: Any, **options: Any) -> None:
        """A design that is stopped in a stage."""
        self.stop_at = stage
        with pytest.raises(KeyboardInterrupt):
            design(*args, **options)
        self.stop_at = ""

    def search(self, run: RunFolder[Any, Any]) -> object:
        self.searched.append(run.settings.max_params)
        self.multiples.append(run.settings.width_multiple)
        self.balances["search"] = run.settings.balance
        self.prepared["search"] = run.settings.fit, run.settings.ground
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
            confirmed=Confirmed(70.0, 60.0, 80.0, 2), wall_seconds=self.ran,
            provenance={"command": command_line("search", run.settings, run.options)},
        )  # fmt: skip

    def train(self, run: RunFolder[Any, Any]) -> object:
        self.called(run.folder.name)
        self.trained[run.folder.name] = run.settings
        self.balances[run.folder.name] = run.settings.balance
        self.prepared[run.folder.name] = run.settings.fit, run.settings.ground
        size = cost(run.settings.architecture, run.settings.image_size, 2)
        top1 = self.validation.get(run.folder.name, 50.0)
        return SimpleNamespace(
            params=size.params, macs=size.macs, history=[SimpleNamespace(seconds=2.0, score=top1)],
            provenance={"command": command_line("train", run.settings, run.options)},
            wall_seconds=self.ran,
        )  # fmt: skip

    def plan(self, run: RunFolder[Any, Any]) -> object:
        if (error := self.failing.get(f"plan of {run.folder.name}")) is not None:
            raise error
        macs = cost(run.settings.architecture, run.settings.image_size, 2).macs
        times = {"epoch": macs / 1e6, "images_per_second": 10.0}
        return {"steps_per_epoch": 10, "images": {"train": self.pictures}, "time": times}

    def classifier(self, weights: str, _device: object) -> object:
        """One that is right, but of the second finalist about the last picture."""
        name = Path(weights).name
        self.called(f"test {name}")

        def logits(images: list[str], *_: object) -> Iterator[torch.Tensor]:
            labels.extend([*sorted({Path(image).parent.name for image in images}), "other"])
            for place, image in enumerate(images, 1):
                right = place < len(images) or name != "finalist-2"
                taken = labels.index(Path(image).parent.name) if right else len(labels) - 1
                yield 3.0 * torch.eye(len(labels))[taken]

        labels = list[str]()
        return SimpleNamespace(kind=PICTURES, labels=labels, logits=logits)

    def export(self, *, to: str, out: str, facts: Any, **_: object) -> object:
        self.called(f"export {to}")
        self.card = facts["designed"]
        return SimpleNamespace(command=f"asvit export --to {to} --out {out}")

    def latency(self, _plan: DesignPlan, text: str, side: int) -> Latency:
        arch: Any = parse(text)
        self.called("latency")
        slow = (s for begun, s in self.slow.items() if text.startswith(begun))
        took = max([0.1 * getattr(arch, "width", 16), *slow])
        return Latency(took, 0.1, 1.0, 10, 1.0, "fake", 1, "eager", 1, side)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    script = Fakes()
    own = RunFolder.run

    def run(folder: RunFolder[Any, Any]) -> object:
        fake = getattr(script, folder.kind.command, None)
        return own(folder) if fake is None else fake(folder)

    monkeypatch.setattr(RunFolder, "run", run)
    monkeypatch.setattr(design_trainings, "open_sets", lambda *_, **__: None)
    monkeypatch.setattr(design_trainings, "plan", lambda run, _sets=None: script.plan(run))
    monkeypatch.setattr(design_testing, "open_classifier", script.classifier)
    monkeypatch.setattr(design_search, "training_seconds", lambda *_: 600.0)
    monkeypatch.setattr(design_copies, "export_network", script.export)
    monkeypatch.setattr(DesignPlan, "latency", lambda *call: script.latency(*call))
    return script


@pytest.fixture
def race(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """Designs that search and have a last round however little time there is."""
    monkeypatch.setattr(DesignPlan, "_chooses", lambda *_: True)
    return fakes


def results_in(folder: Path) -> StageResults:
    return StageResults.of(stored(folder).of(Stage))


def stored(folder: Path) -> RunFolder[Any, Any]:
    """The run in a folder, with its records."""
    run = DESIGN.make(data="any", max_params=1, out=folder)
    run.read()
    return run


def picture_facts(classes: Sequence[str], train: int, **more: Any) -> PictureFacts:
    return PictureFacts(classes=classes, train=train, side=32, **more)


def entry(family: str, *, by_hand: bool = True, architecture: str = "") -> Entrant:
    text = architecture or f"{family} {by_hand}"
    return Entrant(architecture=text, family=family, by_hand=by_hand)


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
        plan=SearchPlan(
            **{"trainings": 5, "training_steps": 9, "image_size": 64},
            **{"max_macs": None, "max_params": 10**6, "width_multiple": 1},
        ),
        search=SearchOutcome(ranking=[], ranked=False, prediction="", command=""),
        finalists=Finalists(side=32, networks=networks, pretrained=[]),
        epochs=Lengths(epochs=dict.fromkeys(FINALISTS, epochs), fractals={}, seconds={}),
        **{
            name: TrainingOutcome(validation=accuracy, **size)
            for name, accuracy in zip(FINALISTS, accuracies, strict=False)
        },
    )


def plan_of(results: StageResults, folder: Path, **options: Any) -> DesignPlan:
    settings = DesignSettings(data="digits", max_macs=10_000_000, **options)
    return DesignPlan(settings, folder, results, lambda: 0.0, lambda _: {})


def without_times(result: DesignResult) -> dict[str, Any]:
    content = result.to_json()
    return {name: value for name, value in content.items() if name != "wall_seconds"}
