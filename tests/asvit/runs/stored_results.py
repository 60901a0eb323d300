"""A right result of every kind of run, and how it is shown, for tests of what reads them."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from asvit.core.answers import Answer, Confusion, write_answers
from asvit.core.codec import from_json
from asvit.core.estimates import Interval
from asvit.core.results import Result
from asvit.designs.result import DesignResult, Model, Racer
from asvit.designs.settings import DesignSettings
from asvit.growth.result import ScaleResult
from asvit.growth.settings import ScaleSettings
from asvit.networks import Network
from asvit.reference.findings import Finding, Reliability, Within
from asvit.reference.result import CorrelationResult, Values
from asvit.reference.settings import CorrelationSettings
from asvit.reference.table import Target
from asvit.runs.correlation import CORRELATE
from asvit.runs.designing import DESIGN
from asvit.runs.evaluating import TEST
from asvit.runs.reporting import show
from asvit.runs.scaling import SCALE
from asvit.runs.search import SEARCH
from asvit.runs.supernet import EVOLVE, SUPERNET
from asvit.runs.training import TRAIN
from asvit.runs.transfer import DETECT, SEGMENT
from asvit.search import SearchSettings, TrialRow
from asvit.search.evolution import (
    EvolutionResult,
    EvolutionSettings,
    Generation,
)
from asvit.search.result import Entropy, Finalist, SearchResult
from asvit.training.metrics import EpochRow
from asvit.training.result import TrainResult
from asvit.training.settings import TrainSettings
from asvit.training.short_settings import SupernetSettings
from asvit.training.supernet_result import PathAccuracies, SupernetResult
from asvit.transfer.settings import (
    DetectionResult,
    DetectionRow,
    DetectionSettings,
    SegmentationResult,
    SegmentationRow,
    SegmentationSettings,
)
from asvit.use.result import CalibrationRow, ClassRow, EvaluationResult
from asvit.use.settings import EvaluationSettings
from scaling import Row

HERE = Path("run")
SEED = "4,2,2|2,1,2|2,1,2|2,1,2|16"
PATH = "psvit1d:bbs---|bs----|bb----|3,4,9|192"
ORIGIN: Mapping[str, Any] = {
    "images": {"source": "fractals", "digest": "12"},
    "device": "cpu",
    "versions": {"asvit": "0.1"},
    "command": "asvit",
}
INTERVAL = [0.1, 0.9]
TOLD = {
    **{
        "measure": "macs",
        "target": "top1",
        "trivial": True,
        "rival": "",
        "better": "higher",
        "n": 9,
        "dropped": 0,
        "tau": 0.5,
    },
    **{"tau_interval": INTERVAL, "difference": None, "difference_interval": [None, None]},
    "reason": "",
}
RELIABILITY = {
    **{"reference": "mine", "digest": "12", "target": "top1", "description": "of nine"},
    **{"noise_ceiling": 0.9, "rows": 9, "scores": "on one core"},
    **{"measures": [TOLD], "best_count": TOLD},
}


def trial(number: int) -> TrialRow:
    values = {"length_distortion": 2.0, "ntk_condition_number": math.nan}
    return TrialRow(number, SEED, 10, 20, values, 0.1, 9.0, "failed", "singular")


def step(number: int) -> Row:
    values = {"length_distortion": 1.0 + number}
    kind, size = ("start", 10**6) if not number else ("depth", 10**6 * (number + 1))
    rank = number or None
    return Row(number, kind, SEED, (1, 1, 1, 1), 16, 16, size, 2 * size, values, rank, True, "")


def finding(measure: str) -> Finding:
    interval = Interval(*INTERVAL)
    return Finding(
        measure, "top1", "higher", measure == "macs",
        9, 0, 0.5, interval, "macs", 0.1, interval,
        (Within("params", 0.4, interval, "macs", 0.3, 0.1, interval),), "",
    )  # fmt: skip


def epoch(number: int) -> EpochRow:
    return EpochRow(number, "", 0.1, 2.0, 2.0, 10.0, 50.0, 99.0, 1.5)


def transfer_row(kind: Any, number: int) -> Any:
    values = {one.name: 1.5 for one in dataclasses.fields(kind)}
    return kind(**{**values, "epoch": number})


COLUMNS = {"macs": (9.0,) * 5, "length_distortion": (1.0, 2.0, 3.0, 5.0, math.nan)}
VALUES = Values((SEED,) * 5, (32,) * 5, {"top1": (1.0,) * 5}, COLUMNS, ("",) * 5)
ANSWERS = (
    Answer("a/1.png", "a", "a", 0.9, 0.1, "12" * 32),
    Answer("a/2.png", "a", "b", 0.6, 1.2, "34" * 32),
    Answer("b/1.png", "b", "b", 0.8, 0.2, "56" * 32),
)
CONFUSIONS = (
    Confusion("a", "a", 1, 50.0),
    Confusion("a", "b", 1, 50.0),
    Confusion("b", "b", 1, 100.0),
)
CLASS_ROWS = (
    ClassRow("a", 2, 1, 100.0, 50.0, Interval(9.0, 91.0), 66.7),
    ClassRow("b", 1, 2, math.nan, 100.0, Interval(21.0, 100.0), 66.7),
)
ACCURACIES = PathAccuracies(4, 1.0, 2.0, 3.0)
MEASURES = ("length_distortion", "ntk_condition_number")
FAILED = {"length_distortion": 1.5, "ntk_condition_number": math.nan}
FINALIST = Finalist(SEED, 0, True, 10, 20, dict.fromkeys(MEASURES, 1.0), FAILED, "singular")

Show = Callable[[Any, Console], None]
Kind = type[Result]
RIGHT: Mapping[Kind, tuple[Any, Show]] = {
    type(result): (result, shown)
    for result, shown in (
        (
            SearchResult(
                folder=HERE, settings=SearchSettings.make(steps=2, proxies=MEASURES),
                seed_architecture=SEED, params=10, macs=20, values=dict.fromkeys(MEASURES, 1.0),
                reason="", steps=2, failures=1, entropy=Entropy(9.0, math.nan), wall_seconds=3.5,
                front=(trial(0), trial(1)), finalists=(FINALIST,), provenance=ORIGIN,
                next_command="asvit scale",
                reliability=from_json(RELIABILITY, Reliability),
            ),
            partial(show, SEARCH),
        ),
        (
            ScaleResult(
                folder=HERE, settings=ScaleSettings(SEED, budgets=("1M", "2M")), space="asvit",
                series=(step(0), step(1), step(2)), candidates=(step(0), step(1), step(2)),
                reason="", wall_seconds=2.0, provenance={"seed_run": None, **ORIGIN},
                next_command="asvit train", reliability=from_json(RELIABILITY, Reliability),
            ),
            partial(show, SCALE),
        ),
        (
            CorrelationResult(
                folder=HERE, reference="mine",
                targets=(Target("top1", "of nine", "scratch", 0.9),), rows=5,
                excluded={"not drawn": 4},
                correlations=(finding("macs"), finding("length_distortion")), values=VALUES,
                wall_seconds=9.0, settings=CorrelationSettings(reference="mine", image_size=32),
                provenance={
                    **ORIGIN, "table": {"source": "mine", "digest": "12"},
                    "images": {"32": ORIGIN["images"]},
                },
            ),
            partial(show, CORRELATE),
        ),
        (
            DesignResult(
                folder=HERE, settings=DesignSettings("pets", max_params=30), family="asvit",
                architecture=SEED, params=10, macs=20, latency_ms=1.5, accuracy=80.0,
                accuracy_interval=Interval(70.0, 90.0),
                hand_made=Model("asvit", SEED, 11, 21, 1.6, 75.0, Interval(65.0, 85.0)),
                difference=5.0, difference_interval=Interval(-3.0, 13.0), prediction="70 %",
                race=[
                    Racer(
                        round="last", family="asvit", architecture=SEED, by_hand=True,
                        validation=70.0, accuracy=75.0, accuracy_interval=Interval(65.0, 85.0),
                        epochs=4, chosen=True, narrowed=True,
                    ),
                ],
                ranked=True,
                at_chance=False,
                image_size=64, pixels="uint16", fractals=3, balance="sampling",
                imbalance=3.5, int8="costs 0.1 points", epochs=9,
                classes=["cat", "dog"], train_pictures=40, test_pictures=10,
                unreadable={"cat/1.jpg": "it is truncated"}, measured_on="a processor",
                exports=["timm"], commands=["asvit search"], wall_seconds=3.0,
                provenance=ORIGIN, next_command="asvit predict",
            ),
            partial(show, DESIGN),
        ),
        (
            SupernetResult(
                folder=HERE,
                settings=SupernetSettings(),
                losses=[2.0, 1.0],
                num_classes=10,
                accuracy=ACCURACIES,
                params=1000,
                wall_seconds=5.0,
                provenance=ORIGIN,
                next_command="asvit",
            ),
            partial(show, SUPERNET),
        ),
        (
            EvolutionResult(
                folder=HERE,
                settings=EvolutionSettings(max_macs=30),
                space="psvit-1d",
                architecture=PATH,
                path="bbs---|bs----|bb----",
                **{"params": 10, "macs": 20, "validation": 50.0, "test": 49.0},
                generations=[Generation(1, 4, 50.0, 40.0, 50.0)],
                random={"validation": ACCURACIES, "test": ACCURACIES},
                evaluated=4,
                reason="",
                wall_seconds=3.0,
                provenance={"supernet": {"source": "s", "digest": "12"}, **ORIGIN},
                next_command="asvit train",
            ),
            partial(show, EVOLVE),
        ),
        (
            TrainResult(
                folder=HERE, network=Network(SEED, 32, 10), params=10, macs=20,
                history=(epoch(1), epoch(2)), best=epoch(1), stages=(), saved=None,
                wall_seconds=3.0,
                settings=TrainSettings(SEED, epochs=2, warmup_epochs=0),
                provenance={"found_by": None, "processes": 1, **ORIGIN},
                next_command="asvit export",
            ),
            partial(show, TRAIN),
        ),
        (
            DetectionResult(
                folder=HERE, classes=2, params=10, wall_seconds=3.0,
                history=(transfer_row(DetectionRow, 1), transfer_row(DetectionRow, 2)),
                settings=DetectionSettings(architecture=SEED, data="coco", epochs=2),
                provenance={"found_by": None, "processes": 1, **ORIGIN},
            ),
            partial(show, DETECT),
        ),
        (
            SegmentationResult(
                folder=HERE, classes=3, params=10, wall_seconds=3.0,
                history=(transfer_row(SegmentationRow, 1),),
                settings=SegmentationSettings(architecture=SEED, data="scenes", epochs=1),
                provenance={"found_by": None, "processes": 1, **ORIGIN},
            ),
            partial(show, SEGMENT),
        ),
        (
            EvaluationResult(
                folder=HERE, settings=EvaluationSettings("pets", "run"), architecture=SEED,
                image_size=32, classes=("a", "b"), pictures=3, accuracy=66.7,
                accuracy_interval=Interval(21.0, 94.0), balanced_accuracy=75.0,
                balanced_accuracy_interval=Interval(30.0, 97.0), macro_f1=66.7, loss=0.5,
                calibration_error=23.0,
                per_class=CLASS_ROWS,
                calibration=(CalibrationRow(60.0, 66.7, 3, 65.0, 66.7, Interval(21.0, 94.0)),),
                confusion=CONFUSIONS, unreadable={"a/3.png": "it is truncated"},
                trained_on=1, answers=ANSWERS, wall_seconds=3.0,
                provenance={"weights": {"source": "run", "digest": "12"}, **ORIGIN},
            ),
            partial(show, TEST),
        ),
    )
}  # fmt: skip


def write_beside(folder: Path) -> None:
    """Write the tables that results of some kinds need beside them."""
    (folder / "values.csv").write_text(VALUES.to_csv())
    write_answers(folder / "predictions.csv", ANSWERS)


def content_of(kind: Kind) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(RIGHT[kind][0].to_json(), allow_nan=False))
    return content
