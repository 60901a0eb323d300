"""Sample run folders of every kind with made-up numbers, to check the layout of reports.

Nothing in them was measured. They contain what is hard to lay out: failures with long reasons,
many columns, values over several decades, several budgets.
"""

import base64
import io
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from asvit.core.answers import Answer, Confusion, write_answers
from asvit.core.results import stored_content
from asvit.core.run_files import MARKER
from asvit.designs.result import DesignResult
from asvit.growth.result import ScaleResult
from asvit.growth.settings import ScaleSettings
from asvit.networks import Network
from asvit.reference.correlate import correlate
from asvit.reference.findings import Finding, sort_findings
from asvit.reference.result import CorrelationResult, Values
from asvit.reference.table import Target
from asvit.search import SearchSettings, TrialRow
from asvit.search.evolution import (
    EvolutionResult,
    EvolutionSettings,
    PathRow,
    generations_of,
    write_paths,
)
from asvit.search.result import Entropy, Finalist, SearchResult
from asvit.search.rows import write_trials
from asvit.spaces import load_space
from asvit.training.metrics import EpochRow, Mistake, Predictions, predictions_of, write_metrics
from asvit.training.result import TrainResult
from asvit.training.settings import TrainSettings
from asvit.training.supernet_result import SupernetResult
from asvit.transfer.settings import DetectionResult
from asvit.use.measures import measures, score
from asvit.use.result import EvaluationResult
from proxies import get_proxy
from scaling import Row
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
    "command": "asvit search --steps 120 --repeats 5 --seed 0 --out runs/search",
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
    best = trials[-1]
    finalists = [
        Finalist(
            *(row.architecture, row.number, row is best, row.params, row.macs),
            *(row.values, row.values, row.reason),
        )
        for row in trials[-3:]
    ]
    replace(
        stored_results.RIGHT[SearchResult][0],
        folder=folder,
        settings=SearchSettings.make(steps=len(trials)),
        seed_architecture=best.architecture,
        params=best.params,
        macs=best.macs,
        values=best.values,
        steps=len(trials),
        entropy=Entropy(15.3, 4.1),
        front=trials[-10:],
        finalists=finalists,
        provenance=_ORIGIN,
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
    replace(
        stored_results.RIGHT[ScaleResult][0],
        folder=folder,
        settings=ScaleSettings(architecture=_SEED, budgets=("5M", "20M"), seed=7),
        series=series,
        candidates=candidates,
        provenance={"seed_run": None, **_ORIGIN},
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
    (folder / "values.csv").write_text(values.to_csv(), encoding="utf-8")
    replace(
        stored_results.RIGHT[CorrelationResult][0],
        folder=folder,
        reference="timm-in1k",
        targets=targets,
        rows=count,
        excluded={"above 100M parameters": 41},
        correlations=sort_findings(found),
        values=values,
        provenance={
            **_ORIGIN,
            "table": {"source": "timm-in1k", "digest": "5f0c" * 16},
            "images": {"224": {"source": "fractal", "digest": "5f0c" * 16}},
        },
    ).write()


def _finding(
    name: str,
    column: tuple[float, ...],
    target: str,
    accuracies: tuple[float, ...],
    counts: dict[str, tuple[float, ...]],
) -> Finding:
    better = "higher" if "+" in name else get_proxy(name).better
    found = correlate(column, accuracies, better=better, counts=counts, samples=100)
    return replace(found, measure=name, target=target, trivial=name in counts)


def _evolution(folder: Path) -> None:
    draw, rng = random.Random(3), np.random.default_rng(3)
    space = load_space("psvit2d")
    rows: list[PathRow] = []
    for generation in range(1, 9):
        for _ in range(20):
            text, macs = str(space.sample(rng)), draw.randrange(4_000_000, 20_000_000)
            accuracy = 100 * (1 - math.exp(-0.6 - 0.15 * generation - draw.uniform(0, 0.6)))
            origin = "random" if generation == 1 else draw.choice(["crossover", "mutation"])
            path = text.partition(":")[2]
            rows.append(PathRow(len(rows), generation, origin, text, path, macs, accuracy))
    best = max(rows, key=lambda row: row.validation)
    (folder / "trials.csv").write_text(write_paths(rows), encoding="utf-8")
    replace(
        stored_results.RIGHT[EvolutionResult][0],
        folder=folder,
        settings=EvolutionSettings.make("quick", generations=8, max_macs=20_000_000),
        **{name: getattr(best, name) for name in ("architecture", "path", "macs", "validation")},
        generations=generations_of(rows),
        evaluated=len(rows),
        provenance={"supernet": {"source": "runs/supernet", "digest": "c0de" * 16}, **_ORIGIN},
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
            images_per_second=310.0 if epoch < 9 else 120.0,
            seconds=12.5,
            train_top1=90 - 55 * 0.87**epoch,
        )
        for epoch in range(1, 21)
    ]
    stages = [
        {"stride": stride, "dilation": 1, "epochs": epochs, "macs": macs, "fraction": macs / 9e7}
        for stride, epochs, macs in ((16, 8, 30_000_000), (4, 12, 90_000_000))
    ]  # fmt: skip
    write_metrics(folder, history)
    replace(
        stored_results.RIGHT[TrainResult][0],
        folder=folder,
        settings=TrainSettings(_SEED, epochs=20, warmup_epochs=2, retokenize="auto"),
        network=Network(_SEED, 64, len(classes)),
        history=tuple(history),
        best=history[-1],
        stages=tuple(stages),
        saved=0.267,
        provenance={"found_by": {"kind": "search"}, "processes": 1, **_ORIGIN},
    ).write()
    draw = random.Random(5)
    confusion = [
        Confusion(label, taken, *((40, 60.0) if label == taken else (draw.randrange(1, 12), 5.0)))
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
    losses = [2.3 * 0.95**epoch for epoch in range(30)]
    replace(stored_results.RIGHT[SupernetResult][0], folder=folder, losses=losses).write()


def _design(folder: Path) -> None:
    right = stored_results.RIGHT[DesignResult][0]
    equal, left_out = [["cat/1.jpg", "cat/2.jpg"]], {"dog/9.png": "it has another digest"}
    replace(right, folder=folder, equal=equal, left_out=left_out).write()


def _detection(folder: Path) -> None:
    replace(stored_results.RIGHT[DetectionResult][0], folder=folder).write()


def _test(folder: Path) -> None:
    """A network of four classes that is too sure of itself; one of them is rare."""
    classes = ("cat", "dog", "hippopotamus amphibius, the common one", "ox")
    rng = np.random.default_rng(7)
    labels = rng.choice(4, 400, p=(0.4, 0.3, 0.25, 0.05))
    logits = 2.5 * (np.eye(4)[labels] + rng.normal(0, 0.7, (400, 4)))
    found = score(logits, labels, classes)
    answers = [
        Answer(f"{classes[label]}/{place}.jpg", classes[label], classes[taken], share, 1.0)
        for place, (label, taken, share) in enumerate(
            zip(labels, found.predicted, found.confidences, strict=True)
        )
    ]
    replace(
        stored_results.RIGHT[EvaluationResult][0],
        folder=folder,
        classes=classes,
        **measures(found),
        unreadable={"cat/7.jpg": "cannot read image 'photos/cat/7.jpg': it is truncated"},
        trained_on=12,
        answers=answers,
        provenance={"weights": {"source": "runs/pets", "digest": "5f0c" * 16}, **_ORIGIN},
    ).write()
    write_answers(folder / "predictions.csv", answers)
    picture = Image.open(io.BytesIO(base64.b64decode(_picture(3))))
    predictions_of(classes, answers, lambda _: picture.copy()).write(folder / "predictions.json")


KINDS: dict[str, Callable[[Path], None]] = {
    "search": _search,
    "scale": _scale,
    "correlate": _correlate,
    "evolution": _evolution,
    "training": _training,
    "supernet": _supernet,
    "design": _design,
    "detection": _detection,
    "test": _test,
}
