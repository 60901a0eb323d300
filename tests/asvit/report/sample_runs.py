"""Sample run folders of every kind with made-up numbers, to check the layout of reports.

Nothing in them was measured. They contain what is hard to lay out: failures with long reasons,
many columns, values over several decades, several budgets.
"""

import base64
import io
import math
import random
import statistics
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from asvit.core.codec import from_json
from asvit.core.digests import sealed_json
from asvit.core.files import write_bytes
from asvit.core.results import stored_content
from asvit.designs.result import DesignResult
from asvit.growth.result import ScaleResult
from asvit.growth.settings import ScaleSettings
from asvit.networks import Network
from asvit.reference.build_result import BuildResult, BuiltRow
from asvit.reference.build_settings import BuildSettings
from asvit.reference.findings import Finding, Reliability, in_order
from asvit.reference.result import Values
from asvit.reference.settings import CorrelationQuery, CorrelationSettings
from asvit.reference.statistics import correlate
from asvit.reference.table import Target
from asvit.runs.folder import MARKER
from asvit.search import SearchSettings, TrialRow
from asvit.search.result import SearchResult
from asvit.search.rows import Finalist, write_trials
from asvit.search.supernet_result import (
    EvolutionResult,
    Generation,
    PathRow,
    RandomPaths,
    Winner,
    write_paths,
)
from asvit.search.supernet_settings import EvolutionSettings
from asvit.spaces import load_space
from asvit.training.metrics import Confusion, EpochRow, Mistake, Predictions, write_metrics
from asvit.training.result import TrainResult
from asvit.training.settings import TrainSettings
from asvit.training.supernets.settings import PathAccuracies, SupernetResult, SupernetSettings
from asvit.transfer.settings import DetectionResult
from proxies import get_proxy
from scaling import Row
from scaling.trajectory import to_csv
from tests.asvit.runs import stored_results

MEASURES = ("length_distortion", "ntk_condition_number")
SINGULAR = (
    "ntk_condition_number: the kernel is singular in 3 of 5 repeats, because two images of the "
    "batch have the same feature; more images, or other ones, may help"
)
_SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
_ORIGIN = {
    "images": {"source": "fractal", "digest": "5f0c" * 16, "count": 16},
    "device": "cpu",
    "versions": {"asvit": "0.1.0", "python": "3.11.7", "torch": "2.15.0", "timm": "1.0.31"},
}


def write_sample(kind: str, folder: Path) -> Path:
    """Write a sample run; returns ``folder``.

    Args:
        kind: One of :data:`KINDS`.
        folder: Run folder, created if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    KINDS[kind](folder)
    (folder / MARKER).write_text(stored_content(folder / "result.json")["kind"])
    return folder


def _search(folder: Path) -> None:
    trials = _trials(120)
    write_trials(folder / "trials.csv", trials, MEASURES)
    best, command = trials[-1], "asvit search --steps 120 --repeats 5 --seed 0 --out runs/search"
    SearchResult(
        folder=folder,
        settings=SearchSettings.make(steps=len(trials)),
        seed_architecture=best.architecture,
        params=best.params,
        macs=best.macs,
        values=best.values,
        reason="",
        steps=len(trials),
        failures=3,
        entropy=(15.3, 4.1),
        front=trials[-10:],
        finalists=[
            Finalist(
                architecture=row.architecture,
                number=row.number,
                likeliest=row is best,
                params=row.params,
                macs=row.macs,
                values=row.values,
                again=row.values,
                reason=row.reason,
            )
            for row in trials[-3:]
        ],
        wall_seconds=1563.2,
        provenance={**_ORIGIN, "command": command},
        reliability=from_json(_reliability(), Reliability),
    ).write()


def _trials(count: int) -> list[TrialRow]:
    """Trials of a converging search; every fortieth fails."""
    draw, rng = random.Random(0), np.random.default_rng(0)
    space = load_space("asvit")
    rows = []
    for number in range(count):
        failed = number % 40 == 2
        progress = number / 120
        kappa = math.nan if failed else 10 ** (4 - 2 * progress + draw.gauss(0, 0.4))
        rows.append(
            TrialRow(
                number=number,
                architecture=str(space.sample(rng)),
                params=draw.randrange(2_000_000, 30_000_000),
                macs=draw.randrange(300_000_000, 6_000_000_000),
                values={
                    "length_distortion": 3 + 4 * progress + draw.gauss(0, 0.8),
                    "ntk_condition_number": kappa,
                },
                reward=draw.gauss(0.1, 0.3),
                entropy=15.3 - 11 * progress**2,
                state="failed" if failed else "complete",
                reason=SINGULAR if failed else "",
            )
        )
    return rows


def _scale(folder: Path) -> None:
    draw = random.Random(1)
    depths, width = [1, 1, 1, 1], 32
    series = [_grown(draw, 0, depths, width)]
    candidates = list(series)
    for step in range(1, 15):
        tried = [
            (stage, [depth + (place == stage) for place, depth in enumerate(depths)], wider)
            for stage in range(4)
            for wider in (width, width + 4, width + 8)
        ]
        best = draw.randrange(len(tried))
        for place, (_, deeper, wider) in enumerate(tried):
            bad = step == 4 and place == (best + 1) % len(tried)
            candidates.append(_grown(draw, step, deeper, wider, chosen=place == best, failed=bad))
        _, depths, width = tried[best]
        series.append(_grown(draw, step, depths, width))
    (folder / "steps.csv").write_text(to_csv(series), encoding="utf-8")
    (folder / "candidates.csv").write_text(to_csv(candidates), encoding="utf-8")
    ScaleResult(
        folder=folder,
        settings=ScaleSettings(architecture=_SEED, budgets=("5M", "20M"), seed=7),
        space="asvit",
        series=series,
        candidates=candidates,
        reason="",
        wall_seconds=5123.0,
        provenance={"seed_run": None, **_ORIGIN, "command": "asvit scale --budget 5M,20M"},
        reliability=from_json(_reliability(), Reliability),
    ).write()


def _grown(
    draw: random.Random,
    step: int,
    depths: list[int],
    width: int,
    *,
    chosen: bool = True,
    failed: bool = False,
) -> Row:
    params = 900 * width**2 * sum(depths) // 8
    kappa = math.nan if failed else 4000 / sum(depths) * draw.uniform(0.6, 1.6)
    return Row(
        step=step,
        kind="grow" if step else "start",
        architecture="8,2,3,{}|4,1,2,{}|4,1,4,{}|4,1,6,{}|32".format(*depths) + f",{width}",
        depths=tuple(depths),
        width=width,
        measured_width=width // 4,
        params=params,
        macs=190 * params,
        values={
            "length_distortion": 0.1 * width * draw.uniform(0.8, 1.2),
            "ntk_condition_number": kappa,
        },
        rank_sum=draw.randrange(2, 20) if step else None,
        chosen=chosen,
        reason=SINGULAR if failed else "",
    )


def _correlate(folder: Path) -> None:
    draw = random.Random(2)
    targets = (
        Target("top1", "ImageNet-1k validation accuracy", "scratch", 0.87),
        Target("cifar100", "CIFAR-100 test accuracy", "unknown"),
    )
    count = 60
    params = [10 ** draw.uniform(6.5, 7.9) for _ in range(count)]
    quality = [math.log10(p) + draw.gauss(0, 0.15) for p in params]
    accuracies = {
        name: tuple(base + 9 * (q - 7) + draw.gauss(0, 0.5) for q in quality)
        for name, base in (("top1", 72.0), ("cifar100", 84.0))
    }
    measures = {
        "params": tuple(params),
        "macs": tuple(200 * p * draw.uniform(0.5, 2) for p in params),
        "length_distortion": tuple(q + draw.gauss(0, 0.3) for q in quality),
        "ntk_condition_number": tuple(
            math.nan if i == 7 else 10 ** (9 - q + draw.gauss(0, 0.4))
            for i, q in enumerate(quality)
        ),
        "zico": tuple(draw.gauss(0, 1) if i < 2 else math.nan for i in range(count)),
    }
    measures["+".join(MEASURES)] = tuple(q + draw.gauss(0, 0.2) for q in quality)
    reasons = tuple(SINGULAR if i == 7 else "" for i in range(count))
    names = tuple(f"vit_base_{i}_patch16_224.augreg_in1k" for i in range(count))
    values = Values(names, (224,) * count, accuracies, measures, reasons)
    counts = {name: measures[name] for name in ("params", "macs")}
    found = [
        _finding(name, column, target.name, accuracies[target.name], counts)
        for target in targets
        for name, column in measures.items()
    ]
    result = {
        "schema_version": 1, "kind": "correlation", "reference": "timm-in1k",
        "digest": "a1b2" * 16, "targets": [asdict(target) for target in targets], "rows": count,
        "excluded": {"above 100M parameters": 41}, "wall_seconds": 823.0,
        "correlations": [one.to_json() for one in in_order(found)],
        "settings": CorrelationSettings(repeats=2, seed=7).to_json(),
        "question": CorrelationQuery().to_json(),
        **_ORIGIN, "images": {"224": {"source": "fractal", "digest": "5f0c" * 16}},
        "command": "asvit correlate --reference timm-in1k --proxies length_distortion,zico",
    }  # fmt: skip
    (folder / "values.csv").write_text(values.to_csv(), encoding="utf-8")
    _write_result(folder, result)


def _finding(
    name: str,
    column: tuple[float, ...],
    target: str,
    accuracies: tuple[float, ...],
    counts: dict[str, tuple[float, ...]],
) -> Finding:
    better = "higher" if "+" in name else get_proxy(name).better
    found = correlate(column, accuracies, better=better, counts=counts, samples=100)
    return Finding(name, target, better, name in counts, found)


def _evolution(folder: Path) -> None:
    draw, rng = random.Random(3), np.random.default_rng(3)
    space = load_space("psvit2d")
    rows: list[PathRow] = []
    generations: list[Generation] = []
    for generation in range(1, 9):
        for _ in range(20):
            text, macs = str(space.sample(rng)), draw.randrange(4_000_000, 20_000_000)
            accuracy = 100 * (1 - math.exp(-0.6 - 0.15 * generation - draw.uniform(0, 0.6)))
            origin = "random" if generation == 1 else draw.choice(["crossover", "mutation"])
            path = text.partition(":")[2]
            rows.append(PathRow(len(rows), generation, origin, text, path, macs, accuracy))
        own = [row.validation for row in rows[-20:]]
        best = max(row.validation for row in rows)
        generations.append(
            Generation(generation, len(own), max(own), statistics.median(own), best)
        )
    won = max(rows, key=lambda row: row.validation)
    validation = PathAccuracies(paths=20, lowest=41.25, median=57.5, highest=66.0)
    compared = RandomPaths(validation, replace(validation, median=56.75))
    (folder / "trials.csv").write_text(write_paths(rows), encoding="utf-8")
    EvolutionResult(
        folder=folder,
        settings=EvolutionSettings.make("quick", generations=8, max_macs=20_000_000),
        space="psvit2d",
        winner=Winner(
            won.architecture, won.path, 812_334, won.macs, won.validation, won.validation - 2
        ),
        generations=generations,
        in_window=compared,
        anywhere=compared,
        deit_macs=20_000_000,
        evaluated=len(rows),
        reason="",
        wall_seconds=412.0,
        provenance={
            "supernet": {"folder": "runs/supernet-psvit2d", "digest": "c0de" * 16},
            **_ORIGIN,
            "command": "asvit supernet evolve runs/supernet-psvit2d --max-macs 20M",
        },
    ).write()


def _training(folder: Path) -> None:
    classes = ("cat", "dog", "hippopotamus amphibius, the common one", "ox")
    history = [
        EpochRow(
            epoch=epoch,
            tokens="16,1" if epoch < 9 else "4,1",
            learning_rate=5e-4 * (1 + math.cos(math.pi * epoch / 20)),
            train_loss=1.2 * 0.9**epoch,
            loss=1.3 * 0.93**epoch + 0.2,
            top1=92 - 60 * 0.85**epoch,
            top5=100.0,
            average_loss=1.4 * 0.93**epoch + 0.2,
            average_top1=93 - 66 * 0.85**epoch,
            average_top5=100.0,
            images_per_second=310.0 if epoch < 9 else 120.0,
            seconds=12.5,
            train_top1=90 - 55 * 0.87**epoch,
        )
        for epoch in range(1, 21)
    ]
    stages = [
        {"stride": stride, "dilation": 1, "epochs": epochs, "macs": macs, "fraction": macs / 9e7,
         "seconds": macs / 4e9, "time_fraction": macs / 9e7, "published_fraction": 0.5}
        for stride, epochs, macs in ((16, 8, 30_000_000), (4, 12, 90_000_000))
    ]  # fmt: skip
    write_metrics(folder, history)
    TrainResult(
        folder=folder,
        settings=TrainSettings(_SEED, epochs=20, warmup_epochs=2, retokenize="auto"),
        network=Network(_SEED, 64, len(classes)),
        params=2_331_004,
        macs=90_000_000,
        history=tuple(history),
        best=history[-1],
        stages=tuple(stages),
        saved={"macs": 0.267, "time": 0.261, "published": 0.2},
        bad_images={"cat/0017.jpg": 3},
        wall_seconds=251.0,
        provenance={
            "found_by": {"kind": "search", "run": "runs/seed"},
            "processes": 1,
            **_ORIGIN,
            "command": "asvit train runs/seed --data pets --epochs 20",
        },
    ).write()
    draw = random.Random(5)
    confusion = [
        Confusion(label, taken, 40 if label == taken else draw.randrange(1, 12))
        for label in classes
        for taken in classes
    ]
    mistakes = [
        Mistake(
            f"{one.label}/{number:04}.jpg", one.label, one.predicted, 97.3, 4.1, _picture(number)
        )
        for number, one in enumerate(confusion)
        if one.label != one.predicted
    ]
    Predictions(classes, tuple(confusion), tuple(mistakes)).write(folder / "predictions.json")


def _picture(number: int) -> str:
    """A plain JPEG image, base64."""
    written = io.BytesIO()
    Image.new("RGB", (96, 64), (10 * number, 90, 200)).save(written, "JPEG")
    return base64.b64encode(written.getvalue()).decode()


def _supernet(folder: Path) -> None:
    SupernetResult(
        folder=folder,
        settings=SupernetSettings(),
        losses=[2.3 * 0.95**epoch for epoch in range(30)],
        num_classes=10,
        accuracy=PathAccuracies(paths=20, lowest=41.25, median=57.5, highest=66.0),
        params=8_123_456,
        wall_seconds=1870.0,
        provenance={**_ORIGIN, "command": "asvit supernet train --space psvit2d"},
    ).write()


def _reference(folder: Path) -> None:
    draw, rng, space = random.Random(6), np.random.default_rng(6), load_space("asvit")
    rows = []
    for number in range(40):
        mean = draw.gauss(74, 2)
        accuracies = [math.nan if number == 7 else mean + draw.gauss(0, 1) for _ in range(2)]
        size = draw.randrange(300_000, 900_000)
        rows.append(BuiltRow(str(space.sample(rng)), size, 90 * size, tuple(accuracies)))
    failed = f"{rows[7].architecture}, seed 0"
    BuildResult(
        folder=folder,
        settings=BuildSettings(n=len(rows)),
        rows=rows,
        failures={failed: "the loss became nan in epoch 3, step 17; use a lower learning rate"},
        num_classes=10,
        training_seconds=7000.0,
        wall_seconds=3600.0,
        provenance={**_ORIGIN, "command": "asvit reference build --n 40"},
    ).write()


def _design(folder: Path) -> None:
    right = stored_results.RIGHT[DesignResult][0]
    equal, left_out = [["cat/1.jpg", "cat/2.jpg"]], {"dog/9.png": "it has another digest"}
    replace(right, folder=folder, equal=equal, left_out=left_out).write()


def _detection(folder: Path) -> None:
    replace(stored_results.RIGHT[DetectionResult][0], folder=folder).write()
    Image.new("RGB", (96, 64), (90, 200, 10)).save(folder / "predictions.jpg")


def _reliability() -> dict[str, Any]:
    """The reliability section of a run with ``--reference``."""
    length: dict[str, Any] = {
        "measure": "length_distortion", "better": "higher", "n": 99, "dropped": 1, "tau": 0.603,
        "tau_interval": [0.5, 0.7], "difference": -0.11, "difference_interval": [-0.2, 0.0],
        "reason": "",
    }  # fmt: skip
    nothing = dict.fromkeys(("tau", "difference"))
    kappa = {
        **length, **nothing, "measure": "ntk_condition_number", "n": 1, "reason": SINGULAR,
        "tau_interval": [None, None], "difference_interval": [None, None],
    }  # fmt: skip
    return {
        "reference": "timm-in1k", "digest": "a1b2" * 16, "target": "top1", "rows": 100,
        "description": "ImageNet-1k validation accuracy", "noise_ceiling": 0.91,
        "folder": "correlate-timm-in1k-1234", "measures": [length, kappa],
        "best_count": {**length, "measure": "params", "tau": 0.716},
    }  # fmt: skip


def _write_result(folder: Path, result: dict[str, Any]) -> None:
    write_bytes(folder / "result.json", *sealed_json(result))


KINDS: dict[str, Callable[[Path], None]] = {
    "search": _search,
    "scale": _scale,
    "correlate": _correlate,
    "evolution": _evolution,
    "training": _training,
    "supernet": _supernet,
    "reference": _reference,
    "design": _design,
    "detection": _detection,
}
