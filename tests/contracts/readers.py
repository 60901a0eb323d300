"""Every reader of files that somebody else may have written. A new one is a new entry here."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any

import optuna
import torch
from rich.console import Console

import asvit.runs.kinds  # noqa: F401 - every kind of result, settings and journal
from asvit.core.answers import read_answers, write_answers
from asvit.core.continuing import check_same
from asvit.core.results import Result
from asvit.core.run_files import MARKER
from asvit.core.settings import Settings
from asvit.designs.settings import DesignSettings
from asvit.designs.stages import TrainingOutcome
from asvit.export.settings import ExportSettings
from asvit.growth.settings import ScaleSettings
from asvit.networks import Network, WeightsFile, read_state
from asvit.networks.opening import load_pretrained, weights_path
from asvit.reference.result import Values
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import ReferenceTable, Target, read_reference
from asvit.runs.folder import kind_in
from asvit.search.evolution import (
    EvolutionSettings,
    PathRow,
    read_paths,
    write_paths,
)
from asvit.search.rows import read_trials, write_trials
from asvit.search.settings import SearchSettings
from asvit.search.study import create_study, open_journal
from asvit.training.checkpoint import Checkpoint, Origin
from asvit.training.metrics import EpochRow
from asvit.training.settings import TrainSettings
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet import SUPERNET
from asvit.training.supernet_result import LossRow
from asvit.training.trainer import EpochPart, TrainerState
from asvit.transfer.settings import DetectionSettings, SegmentationSettings
from asvit.use.architectures import find_architecture
from asvit.use.settings import EvaluationSettings
from proxies import Score
from tests.asvit.runs import stored_results
from tests.contracts.formats import Format, Json, Lines, Table, Tensors, Value

SEED = "4,2,2|2,1,2|2,1,2|2,1,2|16"
IMAGES = {"source": "fractals", "digest": "12" * 32}
SCORE = Score(1 / 3, 0.1, (0.25, 5 / 12), "higher")
VERSIONS = {"torch": "2.15.0", "timm": "1.0.27"}
_images = {"images": IMAGES, "device": "cpu", "versions": VERSIONS}
FAILED = Score(math.nan, math.nan, (), "higher", "singular")
TRAINED = TrainingOutcome(
    params=1, macs=2, command="", epochs=9, validation=1 / 3, epoch_seconds=1.5
)


def nothing(_found: Any, _path: Path) -> None: ...


@dataclass(frozen=True)
class Reader:
    """How a valid file comes about, how it is read, and what is done with what was read."""

    format: Format
    write: Callable[[Path], object]
    read: Callable[[Path], Any]
    use: Callable[[Any, Path], object] = nothing  # may refuse as well
    name: str = "file"
    refusal: str = ""  # part of every message about damage, a regular expression
    tolerant: bool = False  # damage is as if there were no file, and is logged
    foreign: bool = False  # files of others are read as well


# Journals


TABLE = ReferenceTable(
    "mine", Path("mine.csv"), "12" * 32, {}, 10, (SEED,), (32,), None, None,
    {"top1": Target("top1", "", "scratch")}, {"top1": (50.0,)}, "top1",
)  # fmt: skip


def write_study(path: Path) -> None:
    study = create_study(open_journal(path), "run", {"x": "higher", "y": "lower"})
    add_trial(study)


def add_trial(study: Any) -> None:
    trial = study.ask()
    trial.suggest_categorical("a", [1, 2])
    trial.set_user_attr("params", 1)
    study.tell(trial, [1.0] * len(study.directions))


def use_study(storage: Any, path: Path) -> None:
    names = optuna.get_all_study_names(storage)
    if not names:
        return
    study = optuna.load_study(study_name=names[0], storage=storage)
    add_trial(study)
    assert optuna.get_all_study_names(open_journal(path))


JOURNALS = {
    "study of a search": Reader(
        Lines(), write_study, open_journal, use_study, "study.journal",
        refusal=r"line \d+ is not |is corrupt",
    ),
}  # fmt: skip


# Results


def result(kind: type[Result]) -> Reader:
    right, show = stored_results.RIGHT[kind]

    def write(path: Path) -> None:
        replace(right, folder=path.parent).write()
        stored_results.write_beside(path.parent)

    def use(found: Any, path: Path) -> None:
        show(found, Console(file=StringIO(), width=200))
        json.dumps(found.to_json(), allow_nan=False)

    refusal = "result.json is not the result of an? "
    return Reader(Json(), write, kind.read, use, "result.json", refusal=refusal)


RESULTS = {f"result: {kind.__name__}": result(kind) for kind in stored_results.RIGHT}


def write_search(path: Path) -> None:
    write = next(one.write for name, one in RESULTS.items() if name == "result: SearchResult")
    write(path)


OF_OTHERS = {
    "architecture of a run": Reader(
        Json(), write_search, lambda path: find_architecture(str(path.parent)),
        lambda found, path: json.dumps(found.by, allow_nan=False), "result.json",
    ),
}  # fmt: skip


# Settings, as they stand in each of the others


RIGHT_SETTINGS = (
    SearchSettings(),
    SearchSettings(trainings=9),
    DesignSettings("pets", max_params=10**6),
    EvaluationSettings("pets", "run", architecture="timm:resnet18", image_size=64),
    ScaleSettings(SEED),
    EvolutionSettings(max_macs=10**9),
    SupernetSettings(),
    CorrelationSettings(
        reference="mine", targets=("top1",), rows=5, max_params="100M", image_size=64
    ),
    TrainSettings(SEED, validation="val", classes=3, train_images=9),
    DetectionSettings(architecture=SEED, data="coco"),
    SegmentationSettings(data="scenes", weights="a.safetensors", train="."),
    Network(SEED, ffn="compact", branches=2),
    ExportSettings("onnx", SEED, weights="a.safetensors"),
)


def settings(right: Settings) -> Reader:
    kind = type(right)

    def use(found: Any, path: Path) -> None:
        stored = json.dumps(found.to_json(), allow_nan=False)
        assert kind.from_json(json.loads(stored)) == found
        hash(found)  # lists and objects cannot be

    return Reader(
        Value(),
        lambda path: path.write_text(json.dumps(right.to_json())),
        lambda path: kind.from_json(json.loads(path.read_text())),
        use,
    )


SETTINGS = {f"settings: {type(one).__name__}": settings(one) for one in RIGHT_SETTINGS}


# Weights and checkpoints


NETWORK = Network("pit:16,2|1,1,1|1,1,1", 32, 3)
ROW = EpochRow(1, "(4,1)", 1e-3, 2.0, 1.5, 50.0, 90.0, 300.0, 4.5)


@cache
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return NETWORK.build()


def checkpoint(epochs: int = 3) -> Checkpoint:
    weight = torch.arange(12.0).reshape(3, 4)
    settings = TrainSettings.make(architecture="timm:resnet18", epochs=epochs)
    origin = Origin(settings, IMAGES, ("a", "b"), ({"stride": 4, "fraction": 1.0},))
    state = TrainerState(
        weights={"w": weight, "tied": weight, "count": torch.tensor(7)},
        optimizer={"0/exp_avg": torch.ones(4, 3).T, "0/step": torch.tensor(5.0)},
    )
    part = EpochPart((0.5, 0.25), 2.5, {"hits": 3.0}) if epochs > 1 else None
    return Checkpoint(origin, (ROW,), 12.5, state, epochs, part)


def use_checkpoint(found: Checkpoint, path: Path) -> None:
    check_same(Path("run"), {"images": found.origin.images}, {"images": IMAGES})
    assert found.finished in (True, False)
    assert isinstance(found.seconds + 1, float | int)
    assert sum(row.top1 + row.seconds for row in found.history) is not None
    if found.part is not None:
        total = sum(found.part.losses) + sum(found.part.sums.values())
        assert total + found.part.seconds is not None


def write_supernet(path: Path) -> None:
    origin = Origin(SupernetSettings(), IMAGES, ("a", "b"))
    state = TrainerState({"w": torch.zeros(2)}, {})
    Checkpoint(origin, (LossRow(1, 0.5),), 2.5, state, 60).write(path, SUPERNET["kind"])


def use_supernet(found: Checkpoint, path: Path) -> None:
    check_same(Path("run"), {"images": found.origin.images}, {"images": IMAGES})
    assert found.finished in (True, False)
    assert sum(row.loss for row in found.history) is not None
    assert found.seconds + len(found.origin.classes) is not None


def write_weights(path: Path) -> None:
    WeightsFile(NETWORK, network().state_dict(), ("a", "b", "c"), {"seconds": 3}).write(path)


def use_weights(found: WeightsFile, path: Path) -> None:
    assert all(isinstance(name, str) for name in found.classes)
    assert len(found.classes) in (0, found.network.num_classes)
    found.load()


TENSORS = {
    "checkpoint": Reader(
        Tensors(), lambda path: checkpoint().write(path), Checkpoint.read, use_checkpoint,
        "checkpoint.safetensors", refusal="is not a checkpoint that .*restore it from a copy, or",
    ),
    "supernet": Reader(
        Tensors(), write_supernet, partial(Checkpoint.read, **SUPERNET),
        use_supernet, "supernet.safetensors",
        refusal="is not a checkpoint that .*restore it from a copy, or give --fresh",
    ),
    "weights with their network": Reader(
        Tensors(), write_weights, WeightsFile.read, use_weights, "a.safetensors",
    ),
    "weights": Reader(
        Tensors(), write_weights, read_state, name="a.safetensors", foreign=True,
    ),
    "weights of a run": Reader(
        Tensors(), write_weights, lambda path: read_state(weights_path(str(path.parent))),
        name="model.safetensors", foreign=True,
    ),
    "weights to start from": Reader(
        Tensors(), write_weights,
        lambda path: load_pretrained(network(), str(path), new_head=False) == () or None,
        name="a.safetensors",
    ),
}  # fmt: skip


# Tables


SEEDS = [f"4,2,2|2,1,2|2,1,{i % 4 + 2}|2,1,{i % 3 + 2}|16" for i in range(6)]
#: A table with everything that one may hold.
OWN = "\n".join(
    [
        *("# title: six networks", "# num_classes: 10", "# image_size: 32"),
        *("# default_target: top1", "# target: top1 | of the last step | scratch"),
        *("# target: kd | with a teacher | distilled", "# noise_ceiling: top1 | 0.9"),
        "architecture,image_size,top1,kd",
        *(f'"{text}",32,{50 + i},{60 - i}' for i, text in enumerate(SEEDS)),
        "",
    ]
)
#: What belongs into no text of a table: a terminal obeys it.
UNWANTED = {*map(chr, (*range(32), *range(127, 160), *range(0x2028, 0x202F)))}


def use_reference(table: ReferenceTable, path: Path) -> None:
    """What is taken in can be shown and computed with."""
    said: Iterable[Iterable[str]] = (
        *(table.architectures, table.targets, table.provenance.values()),
        [one.description for one in table.targets.values()],
    )
    for words in said:
        assert not any(map(UNWANTED.intersection, words))
    assert table.default_target in table.targets
    for column in table.accuracies.values():
        assert len(column) == len(table) >= 5
        assert all(value != value or 0 <= value <= 100 for value in column)
    assert all(side > 0 for side in table.image_sizes)


def reference(text: str) -> Reader:
    return Reader(
        Table(),
        lambda path: path.write_text(text),
        lambda path: read_reference(path, name="mine"),
        use_reference,
        "table.csv",
    )


def in_memory(read: Callable[[str], Any]) -> Callable[[Path], Any]:
    return lambda path: read(path.read_text(encoding="utf-8"))


TABLES = {
    "table of predictions": Reader(
        Table(), lambda path: write_answers(path, stored_results.ANSWERS), read_answers,
        name="predictions.csv",
    ),
    "table of trials": Reader(
        Table(),
        lambda path: write_trials(
            path, [stored_results.trial(0), stored_results.trial(1)], stored_results.MEASURES
        ),
        read_trials, name="trials.csv",
    ),
    "table of values": Reader(
        Table(), lambda path: path.write_text(stored_results.VALUES.to_csv()),
        in_memory(Values.from_csv),
    ),
    "table of paths": Reader(
        Table(),
        lambda path: path.write_text(
            write_paths([PathRow(0, 1, "random", SEED, "bb----|------", 10, 50.0)])
        ),
        in_memory(lambda text: read_paths(text) or None), tolerant=True,
    ),
    "reference table": reference(OWN),
}  # fmt: skip

KIND = Reader(
    Json(),
    lambda path: path.write_text("search\n"),
    lambda path: kind_in(path.parent),
    name=MARKER,
)
READERS: Mapping[str, Reader] = {
    **JOURNALS, **RESULTS, **OF_OTHERS, **SETTINGS, **TENSORS, **TABLES
}  # fmt: skip
