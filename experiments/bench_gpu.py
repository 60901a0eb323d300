"""All GPU benchmarks of docs/performance.md.

Run from a checkout: ``python -m experiments.bench_gpu``. It measures the wall-clock time of the
default search and the default scaling, the cost of the measures relative to a forward pass, how
often the host waits for the device while measuring one candidate, and the device's memory; with
``--all`` also a design in limited time, short trainings with and without a CUDA graph, and
networks and trainings beside what they are compared with, and writes the table of
docs/performance.md, anew after each part, so that a run that is ended early keeps what it has.
Waits and networks are only printed.
Without a CUDA device it says so and exits successfully.
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

import asvit
import proxies
from asvit.core.files import write_text
from asvit.executors import Workers, apart_from_garbage
from asvit.executors.base import cores
from asvit.training import step_graph
from asvit.training.classification import Classification
from asvit.training.distributed import ProcessGroup
from asvit.training.settings import TrainSettings
from asvit.training.short import Recipe, fit
from asvit.training.step_graph import counting_waits
from asvit.training.trainer import Trainer
from experiments import bench_training
from experiments.bench import (
    bench_parser,
    forward,
    hardware,
    random_networks,
    shortest,
    start,
    write_pictures,
)
from experiments.bench_models import ENTRIES, over_baseline
from experiments.tables import fill_tables, markdown
from experiments.tasks import SEED
from scaling.growth import DEFAULT_MEASURES

PARTS = ("search", "scale", "ratios", "waits")
MORE = ("design", "short", "training", "models")  # of --all
PRINTED = ("waits", "models")  # and not on the page, which has the models by hand
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
AIMS = {"search": 60.0, "scale": 180.0}  # seconds, on an H200
SHORT = Recipe(steps=200)  # of images of 32 px
TRAINED = "timm:resnet10t"  # in as many steps
HOURS, PICTURES = 0.05, 500  # of a design


@dataclass(frozen=True)
class Finding:
    """One result: a description, the value with its unit, and the target."""

    what: str
    value: str
    aim: str = ""


def main() -> None:
    """Measure the requested parts, and print each result as soon as it is known."""
    options = _options()
    if not torch.cuda.is_available():
        print("skipped: no CUDA device here")
        return
    device = start(options)
    measure = {
        "ratios": partial(_ratios, options, device),
        "waits": partial(_waits, options, device),
        "search": partial(_search, options),
        "scale": partial(_scale, options),
        "design": partial(_design, options),
        "short": partial(_short, options, device),
        "training": partial(_training, options),
        "models": partial(_models, options, device),
    }
    findings = [Finding("machine", hardware(device))]
    on_page = [*findings]
    for part in (*PARTS, *MORE) if options.all else options.only.split(","):
        torch.cuda.reset_peak_memory_stats(device)
        with apart_from_garbage():  # as runs measure
            rows = measure[part]()
        peak = torch.cuda.max_memory_allocated(device)
        rows.append(Finding(f"{part}: peak device memory", f"{peak / 1e9:.2f} GB"))
        for one in rows:
            print(f"  {one.what}: {one.value}", flush=True)
        findings += rows
        if part not in PRINTED:
            on_page += rows
        if options.all:
            write(on_page, PAGE)
    print(table(findings))


def _options() -> argparse.Namespace:
    parser = bench_parser(__doc__, runs=5, device="cuda")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--all", action="store_true", help="all parts; writes the page's table")
    parser.add_argument("--topologies", type=int, default=16, help="random ones, for the ratios")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--budget", default="88M")
    parser.add_argument("--batch", type=int, default=128, help="of networks and trainings")
    parser.add_argument(
        "--jobs", type=int, help="workers of search and scaling; chosen if not given"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _ratios(options: argparse.Namespace, device: torch.device) -> list[Finding]:
    """Both measures in forward passes, and the time of a candidate with five networks."""
    ratios: list[tuple[float, float]] = []
    each: list[float] = []
    for text, model, circle, images in _networks(options, device):
        points = circle.images(next(model.parameters()))
        around, length, plain, kernel, *candidate = shortest(
            device,
            options.runs,
            partial(forward, model, points),
            partial(proxies.length_distortion, model, circle),
            partial(forward, model, images),
            partial(proxies.ntk_condition_number, model, images),
            partial(_candidate, text, images, device),
        )
        ratios.append((length / around, kernel / plain))
        each += candidate
    lengths, kernels = zip(*ratios, strict=True)
    return [
        Finding("length distortion over a forward pass", f"{statistics.fmean(lengths):.2f}"),
        Finding("condition number over a forward pass", f"{statistics.fmean(kernels):.2f}"),
        Finding("one candidate, 5 networks", f"{1e3 * statistics.fmean(each):.1f} ms", "120 ms"),
    ]


def _waits(options: argparse.Namespace, device: torch.device) -> list[Finding]:
    """How often the host waits for the device during a measure."""
    text, model, circle, images = next(_networks(options, device))
    functions: dict[str, Callable[[], object]] = {
        "curve_speed": partial(proxies.curve_speed, model, circle),
        "length_distortion": partial(proxies.length_distortion, model, circle),
        "ntk_matrix": partial(proxies.ntk_matrix, model, images),
        "ntk_condition_number": partial(proxies.ntk_condition_number, model, images),
        "5 networks": partial(_candidate, text, images, device),
    }
    found = []
    for name, function in functions.items():
        function()  # one-off preparation may wait
        found.append(Finding(f"{name}: host waits", str(counting_waits(function)[1])))
    return found


def _search(options: argparse.Namespace) -> list[Finding]:
    how = _of_runs(options)
    seconds = _timed(lambda folder: asvit.run_search(steps=options.steps, out=folder, **how))
    aim = f"{AIMS['search']:g} s for 500"
    return [Finding(f"search, {options.steps} steps", f"{seconds:.1f} s", aim)]


def _scale(options: argparse.Namespace) -> list[Finding]:
    how = _of_runs(options)
    seconds = _timed(
        lambda folder: asvit.run_scaling(SEED, budget=options.budget, out=folder, **how)
    )
    aim = f"{AIMS['scale']:g} s for 88M"
    return [Finding(f"scaling to {options.budget}", f"{seconds:.1f} s", aim)]


def _of_runs(options: argparse.Namespace) -> dict[str, Any]:
    """Options that a search and a scaling share."""
    return {
        "image_size": options.image_size,
        "seed": options.seed,
        "device": options.device,
        "workers": Workers(jobs=options.jobs),
    }


def _design(options: argparse.Namespace) -> list[Finding]:
    """The time of a design that may take so many hours."""
    with TemporaryDirectory() as pictures:
        write_pictures(Path(pictures), PICTURES, classes=5, size=(64, 64))
        seconds = _timed(
            lambda folder: asvit.design(
                pictures,
                max_params="1.5M",
                hours=HOURS,
                seed=options.seed,
                device=options.device,
                out=folder,
            )
        )
    limit = 3600 * HOURS
    aim = f"{1.15 * limit:.0f} s at most"
    return [Finding(f"design in {limit:.0f} s, {PICTURES} pictures", f"{seconds:.1f} s", aim)]


class Repeated:
    """The same batch in every step of an epoch of the short recipe."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.batch, self.bad = (images, labels), Counter[str]()

    def __len__(self) -> int:
        return SHORT.steps

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """All epochs are alike."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter([self.batch] * SHORT.steps)

    def close(self) -> None:
        """Nothing prepares the batches."""


def _short(options: argparse.Namespace, device: torch.device) -> list[Finding]:
    """Steps a second of trainings that are launched by kernels, and as a CUDA graph."""
    network = asvit.build(SEED, image_size=32, num_classes=10).to(device)
    count = 4 * SHORT.batch_size
    images = torch.randn(count, 3, 32, 32, device=device), torch.arange(count, device=device) % 10

    def train(fewest: int) -> None:
        with patch.object(step_graph, "FEWEST", fewest):
            fit(network, images, images, SHORT, seed=options.seed)

    def epoch(fewest: int) -> Callable[[], object]:
        with patch.object(step_graph, "FEWEST", fewest):
            model = asvit.build(TRAINED, image_size=32, num_classes=10)
            processes = ProcessGroup(str(device))
            batches: Any = Repeated(own, labels)
            task = Classification(model, settings, processes, batches, batches, classes=10)
            trainer = Trainer(task, processes, epochs=settings.epochs)
        return partial(trainer.train, 0)

    settings = TrainSettings.make(
        architecture=TRAINED, image_size=32, recipe="small", batch_size=SHORT.batch_size
    )
    own, labels = (part[: SHORT.batch_size].cpu() for part in images)
    counts = (sys.maxsize, step_graph.FEWEST)
    findings = []
    for what, ways in (
        ("short training", [partial(train, fewest) for fewest in counts]),
        (f"training {TRAINED}", [epoch(fewest) for fewest in counts]),
    ):
        plain, graph = (SHORT.steps / once for once in shortest(device, options.runs, *ways))
        findings += [
            Finding(f"{what}, kernel by kernel", f"{plain:.1f} steps/s"),
            Finding(f"{what}, CUDA graph", f"{graph:.1f} steps/s"),
        ]
    return findings


def _training(options: argparse.Namespace) -> list[Finding]:
    """Images a second of our trainer and of a loop of timm's parts, on pictures in files."""
    settings = TrainSettings.make(
        architecture="timm:deit_tiny_patch16_224",
        image_size=options.image_size,
        batch_size=options.batch,
        epochs=options.runs + 1,
        auto_augment=bench_training.AUGMENT,
    )
    images, side = 4 * options.batch, 2 * options.image_size
    with TemporaryDirectory() as folder:
        write_pictures(Path(folder), images, classes=bench_training.CLASSES, size=(side, side))
        times = bench_training.measured(settings, Path(folder), cores(), options.device)
    plain, ours = (images / min(own) for own in times.values())
    return [
        Finding("training DeiT-T from files", f"{ours:.0f} images/s"),
        Finding("training DeiT-T over a loop of timm's parts", f"{ours / plain:.2f}"),
    ]


def _models(options: argparse.Namespace, device: torch.device) -> list[Finding]:
    """Throughput of each network over its baseline."""
    findings = []
    for entry in ENTRIES:
        _, *ratios = over_baseline(entry, options.batch, options.runs, device)
        inference, training = (f"{ratio:.2f}" for ratio in ratios)
        what = f"{entry.label} over {entry.baseline}"
        findings.append(Finding(what, f"inference {inference}, training {training}"))
    return findings


def _networks(
    options: argparse.Namespace, device: torch.device
) -> Iterator[tuple[str, torch.nn.Module, proxies.Circle, torch.Tensor]]:
    return random_networks(options.topologies, options.image_size, device, seed=options.seed)


def _candidate(text: str, images: torch.Tensor, device: torch.device) -> None:
    build = partial(asvit.build, text, image_size=images.shape[-1])
    proxies.measure(build, DEFAULT_MEASURES, key=text, images=images, device=str(device))


def _timed(run: Callable[[Path], object]) -> float:
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        run(Path(folder))
        return time.perf_counter() - started


def table(findings: Sequence[Finding]) -> str:
    """The results as a Markdown table."""
    columns = {"": "l", "measured": "r", "aim": "r"}
    return markdown(columns, [(one.what, one.value, one.aim) for one in findings])


def write(findings: Sequence[Finding], page: Path) -> None:
    """Put the table of the results into a page, below ``<!-- benchmark gpu -->``."""
    text = page.read_text(encoding="utf-8")
    write_text(page, fill_tables(text, "benchmark", lambda _: table(findings)))


if __name__ == "__main__":
    main()
