"""Stand-ins for what takes long in runs: values follow from names at once, and some fail."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image
from torch import nn

from asvit.core.estimates import Estimate
from asvit.core.progress import Progress
from asvit.designs.stages import (
    Choice,
    Entrant,
    Exports,
    Finalists,
    FinalTest,
    Lengths,
    SearchOutcome,
    SearchPlan,
    TrainingOutcome,
)
from asvit.growth.seed import GrowthSeed
from asvit.measuring.latency import Latency
from asvit.networks import Network
from asvit.runs import measurement_pool, reporting, training_pool
from asvit.runs.algorithms import designing, scaling
from asvit.runs.algorithms.design_plan import DesignPlan
from asvit.runs.algorithms.design_trainings import Trainings
from asvit.runs.measurement_pool import Measured, MeasurementJob
from asvit.search import Measurement
from asvit.spaces.architectures import find
from asvit.training.short import Outcome, Training
from asvit.training.short_settings import CandidateSettings
from proxies import Cost, Score, get_proxy

SetAttribute = Callable[[object, str, object], None]

SEED = "4,8,2|2,4,2|2,2,2|2,1,2|16"
ARCHITECTURES = [
    f"4,8,{ratio}|2,4,{ratio}|2,2,2|2,1,2|{width}" for ratio in (2, 4) for width in (16, 32, 64)
] + ["8,8,2|2,4,2|2,2,4|2,1,2|16"]
FAILING = ARCHITECTURES[4]


def fake_evaluate(text: str) -> Measurement:
    """For a search; one architecture in eight fails."""
    drawn = crc32(text.encode())
    kappa = float("nan") if drawn % 8 == 0 else 1.0 + drawn % 977
    reasons = {"ntk_condition_number": "the kernel is singular"} if drawn % 8 == 0 else {}
    values = {"length_distortion": (drawn % 1013) / 7, "ntk_condition_number": kappa}
    return Measurement(drawn % 100_000, drawn % 1_000_000, values, reasons)


def fake_cost(_self: GrowthSeed, depths: tuple[int, ...], width: int) -> Cost:
    """Roughly what the network costs."""
    params = 1000 * width + sum(d * 8 * (width * 2**i) ** 2 for i, d in enumerate(depths))
    return Cost(params, 100 * params)


class FakePool:
    """For a scaling; one shape in eight fails."""

    def __init__(self, *_arguments: object, **_named: object) -> None: ...

    def measure(self, jobs: Sequence[MeasurementJob]) -> Iterator[tuple[int, Measured]]:
        for number, job in enumerate(jobs):
            yield number, Measured(self.one(job))

    def one(self, job: MeasurementJob) -> dict[str, Score]:
        _, network = find(job.architecture)
        drawn = crc32(repr((tuple(network.depths), network.width)).encode())
        kappa = float("nan") if drawn % 8 == 0 else 1.0 + drawn % 97
        reason = "the kernel is singular" if drawn % 8 == 0 else ""
        length = drawn % 101 / 7
        values = {
            "length_distortion": Score(length, 0.1, (length,), "higher"),
            "ntk_condition_number": Score(kappa, 0.0, (kappa,), "lower", reason),
        }
        return {name: values[name] for name in job.names}

    def close(self) -> None: ...


def fake_scaling(setattr_: SetAttribute) -> None:
    """Build no networks, and write no report."""
    setattr_(GrowthSeed, "cost", fake_cost)
    setattr_(scaling, "MeasurementPool", FakePool)
    setattr_(reporting, "write_report", lambda *_: None)


def stop_after(
    epoch: int, error: type[BaseException] = KeyboardInterrupt
) -> Callable[[Progress], None]:
    """For the progress of a training; Ctrl-C when an epoch is recorded."""

    def stop(progress: Progress) -> None:
        if progress.record is not None and progress.done == epoch:
            raise error

    return stop


def stop_at(
    count: int, error: type[BaseException] = KeyboardInterrupt
) -> Callable[[Progress], None]:
    """For the progress of a run; Ctrl-C at report number ``count``."""
    calls = itertools.count(1)

    def stop(_progress: Progress) -> None:
        if next(calls) == count:
            raise error

    return stop


def varied(network: Network, std: float) -> nn.Module:
    """A network with random weights, whose outputs differ from picture to picture."""
    model = network.build()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model


def write_table(path: Path, *, change: float = 0.0) -> Path:
    """A table of tiny architectures with two made-up accuracies; the last row has one only."""
    lines = ["# num_classes: 10", "# default_target: top1"]
    lines += ["# target: top1 | made up | scratch", "# target: other | made up, too | unknown"]
    lines += ["# noise_ceiling: top1 | 0.9", "architecture,image_size,top1,other"]
    for place, text in enumerate(ARCHITECTURES):
        other = "" if place == len(ARCHITECTURES) - 1 else str(40 - place)
        lines.append(f'"{text}",32,{50 + (place * 5) % 7 + change},{other}')
    path.write_text("\n".join(lines) + "\n")
    return path


def fake_measure(
    _build: Callable[[], object], names: Sequence[str], *, key: str, **_: Any
) -> dict[str, Score]:
    """For a correlation; one architecture has a singular kernel."""
    found = {}
    for name in names:
        value = 1.0 + crc32(f"{key} {name}".encode()) % 9973
        better = get_proxy(name).better
        if (name, key) == ("ntk_condition_number", FAILING):
            why = "repeat 1 of 2: the kernel is singular"
            found[name] = Score(float("nan"), float("nan"), (float("nan"),), better, why)
        else:
            found[name] = Score(value, 0.5, (value - 0.5, value + 0.5), better)
    return found


def fake_correlation(setattr_: SetAttribute) -> None:
    """Build no networks, and write no report."""
    setattr_(measurement_pool, "measure", fake_measure)
    setattr_(reporting, "write_report", lambda *_: None)


class FakeTrainer:
    """One training in eight fails."""

    num_classes, in_chans = 10, 3
    provenance: Mapping[str, str] = {"source": "fake images", "digest": "f" * 64}

    def __init__(self, _settings: CandidateSettings, device: str, **_: object) -> None:
        self.device = device

    def __call__(self, training: Training) -> Outcome:
        drawn = crc32(repr(training).encode())
        if drawn % 8 == 0:
            return Outcome(math.nan, math.nan, 1.0, "the loss became nan in step 1")
        return Outcome(drawn % 9973 / 100, 1.0, 1.0)


def fake_trainings(setattr_: SetAttribute) -> None:
    """Train nothing."""
    setattr_(training_pool, "CandidateTrainer", FakeTrainer)


def fake_design(setattr_: SetAttribute) -> None:
    """Look at pictures, and find, train and export nothing."""
    trained = TrainingOutcome(
        params=10, macs=20, command="asvit train", epochs=3, validation=70.0, epoch_seconds=1.0
    )
    timed = Latency(1.5, 0.1, 1.0, 10, 1.0, "fake", 1, "eager", 1, 64)
    network = Entrant(architecture=SEED, family="asvit", by_hand=True, validation=70.0)
    plan = {
        "search": SearchPlan(
            trainings=5, training_steps=2, image_size=64, max_macs=100,
            max_params=None, width_multiple=1,
        ),
        "finalists": Finalists(side=64, networks=[network, network], pretrained=[]),
        "epochs": Lengths(
            epochs={"finalist-1": 2, "finalist-2": 2}, fractals={}, seconds={}
        ),
        "choice": Choice(
            winner="finalist-1", by_hand="finalist-2", epochs=3, seconds={},
            accuracies={"finalist-1": 71.0, "finalist-2": 70.0},
        ),
    }  # fmt: skip
    shares = {
        "training": Estimate(80.0, 70.0, 90.0),
        "finalist-1": Estimate(76.0, 66.0, 86.0),
        "finalist-2": Estimate(75.0, 65.0, 85.0),
    }
    stages = {
        "_search": SearchOutcome(
            ranking=[network], ranked=True, prediction="", command="asvit search"
        ),
        "_train_finalist": trained,
        "_test": FinalTest(
            pictures=3,
            left_out={},
            accuracies=shares,
            balanced=shares,
            difference=Estimate(5.0, -3.0, 13.0),
        ),
        "_export": Exports(copies=[], commands=[]),
        "_measure_latency": {"finalist-1": timed, "finalist-2": timed},
    }
    for owner, results in ((DesignPlan, plan), (designing, stages)):
        for name, values in results.items():
            setattr_(owner, name, lambda _self, *_, values=values, **__: values)
    setattr_(Trainings, "winner", lambda _self: None)
    setattr_(designing, "train", lambda _run: trained)


def write_pictures(folder: Path, classes: int = 2, each: int = 10, seed: int = 0) -> Path:
    """JPEGs of mixed kinds and sizes, of which one is truncated: each class has its colour."""
    rng = np.random.default_rng(seed)
    for number in range(classes * each):
        path = folder / f"class{number % classes}" / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = (int(side) for side in rng.integers(70, 120, 2))
        noise = rng.integers(0, 60, (height, width, 3)).astype(np.uint8)
        noise[..., number % classes] += 180
        picture = Image.fromarray(noise)
        picture = picture.convert({3: "L", 5: "CMYK"}.get(number % 7, "RGB"))
        exif = Image.Exif()
        exif[274] = 6 if number % 7 == 6 else 1
        picture.save(path, exif=exif)
    path.write_bytes(path.read_bytes()[:400])
    return folder
