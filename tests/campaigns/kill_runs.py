"""Runs of every command on tiny tasks, killed at random moments and compared.

Every command runs in its own process, which is killed with SIGKILL at a random moment and started
again in the same folder. After at most five kills it may finish. Its files must then equal those
of a run that was never killed: tables and pictures byte by byte, weights bit by bit, result.json
except for times.
"""

import csv
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
from safetensors import safe_open

from asvit.core.run_files import PICTURES, RECORDS
from asvit.data import FractalDataset
from asvit.designs import fitting, fractals
from asvit.designs.stages import SearchPlan
from asvit.runs.algorithms import design_plan
from asvit.search import predictor_sampler
from experiments.tasks import write_pictures
from tests.campaigns import forked

RUN = "run"

_DESIGN_STAGES = 13
_MOMENT = 1.5  # seconds, at most, in a stage of a design

WORKER_SHARE = 0.5  # of the kills, if there are workers
MAX_SECONDS = 300.0  # of a run
MAX_KILLS = 5  # of one run, after which it may finish

_MEASURING = "--image-size 32 --repeats 1 --images 2 --points 3 --device cpu"
_LEARNING = "--classes 3 --train-images 24 --batch-size 6 --device cpu"
_SEARCH = f"search --space asvit-tiny --steps 8 --recheck 1 {_MEASURING}"
_SCALE = (
    "scale --arch 4,2,2|4,1,2|4,1,2|4,1,2|16 --budget 2M --count-size 32 --width-multiple 1"
    f" {_MEASURING}"
)
_CORRELATE = (
    f"correlate --reference vitbench101-pit --rows 6 --proxy length_distortion,snip {_MEASURING}"
)
_ARCHITECTURE = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"

#: Of a search by trainings, of which the last two are chosen by the predictor.
TRAINED = (
    "--controller predictor --trainings 12 --training-steps 2 --width 8 --test-images 12"
    f" {_LEARNING}"
)

#: Commands by name. Each takes about a second and writes every kind of file.
COMMANDS: Mapping[str, str] = {
    "search": _SEARCH,
    "search, evolution": f"{_SEARCH} --controller evolution",
    "search, 2 jobs": f"{_SEARCH} --batch 2 --jobs 2",
    "search, trainings": f"search --space asvit-tiny {TRAINED}",
    "scale": _SCALE,
    "scale, 2 jobs": f"{_SCALE} --jobs 2",
    "correlate": _CORRELATE,
    "correlate, 2 jobs": f"{_CORRELATE} --jobs 2",
    "train": f"train {_ARCHITECTURE} --recipe small --validation-images 9 --image-size 32"
    f" --epochs 9 --warmup-epochs 1 --retokenize 3/3/3 --workers 0 {_LEARNING}",
    "transfer segment": f"transfer segment {_ARCHITECTURE} --data scenes --image-size 32"
    " --classes 2 --head 8 --epochs 4 --batch-size 6 --warmup 2 --device cpu"
    " --checkpoint-minutes 1e-9",
    "supernet train": "supernet train --validation-images 12 --test-images 12 --image-size 16"
    f" --width 6 --epochs 3 {_LEARNING}",
    "supernet evolve": "supernet evolve supernet --population 5 --generations 3 --keep 2"
    " --crossovers 2 --mutations 2 --device cpu",
}

#: Takes half a minute, and is only killed where it is asked for.
DESIGN = "design"
_EVERY = {
    **COMMANDS,
    DESIGN: "design --data pictures --max-params 60K --trainings 5 --image-size 32 --device cpu "
    "--space asvit-parts,resnet",
}

#: Command -> the folder it needs, and the command that makes it.
NEEDS = {"supernet evolve": ("supernet", "supernet train")}

# Times, and what depends on them; everything else must be equal.
_TIMES = frozenset(
    {"wall_seconds", "run_seconds", "training_seconds", "seconds", "elapsed", "images_per_second"}
    | {
        "epoch_seconds",
        "time",
        "latency_ms",
        "latency",
        "milliseconds",
        "deviation",
    }
    | {"crc32", "sha256"}  # of times, too
)
#: Of a report: durations, rows with a speed, and figures, which are files of their own.
_TIMED = re.compile(
    r"\d+(:\d\d)+|<img [^>]*>|<h2>Tokens</h2>.*?</section>|<tr><td>(best|last) \(\d+\).*?</tr>",
    re.DOTALL,
)
# The study also records trials in flight, and trials.csv all others; pace.svg shows throughput.
_NOT_COMPARED = ("study.journal", "pace.svg")


class Campaign:
    """Kills runs of commands and compares the results.

    Args:
        folder: Parent of the run folders; runs without differences are removed.
        seed: Seed of the moments of the kills.
    """

    def __init__(self, folder: Path, *, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._references: dict[str, dict[str, object]] = {}
        self._seconds: dict[str, float] = {}

    def kill(self, name: str, kills: int) -> None:
        """Kill runs of the command ``name`` at least ``kills`` times, and compare each run.

        Raises:
            RuntimeError: If a run differs from the reference run. Its folder is kept.
        """
        self.reference(name)  # measures its duration
        moments = random.Random(f"{self._seed} {name}")
        while kills > 0:
            folder = self.new(name, f"killed-{kills}")
            survived = self._kill_until_done(name, folder, moments)
            self.check_same(name, folder, what=f"after {survived} kills")
            shutil.rmtree(folder)
            kills -= survived

    def finish(self, name: str, folder: Path) -> None:
        """Run the command in ``folder`` to its end.

        Raises:
            RuntimeError: If it fails.
        """
        process = self._start(name, folder)
        process.join(MAX_SECONDS)
        process.kill()
        process.join()
        self._check(name, folder, process.exitcode)

    def check_same(self, name: str, folder: Path, *, what: str = "") -> None:
        """Compare the run in ``folder`` with the reference run.

        Raises:
            RuntimeError: If they differ; ``what`` says how the run was disturbed.
        """
        differing = differences(outcome(folder / RUN), self.reference(name))
        if differing:
            raise RuntimeError(
                f"asvit {_EVERY[name]} ended differently in {', '.join(differing)} {what} "
                f"(seed {self._seed}, see {folder})"
            )

    def reference(self, name: str) -> dict[str, object]:
        """The outcome of a run that is never killed."""
        if name not in self._references:
            folder = self.new(name, "reference")
            began = time.monotonic()
            self.finish(name, folder)
            self._seconds[name] = time.monotonic() - began
            self._references[name] = outcome(folder / RUN)
        return self._references[name]

    def reference_folder(self, name: str) -> Path:
        """The working folder of the run that is never killed."""
        self.reference(name)
        return self._parent(name) / "reference"

    def _parent(self, name: str) -> Path:
        return self._folder / name.replace(", ", "-").replace(" ", "-")

    def new(self, name: str, which: str) -> Path:
        """Make a working folder for a run of the command, with the files it needs."""
        if name == DESIGN:  # its files name their folder, so all of its runs share one
            which = DESIGN
            shutil.rmtree(self._parent(name) / which, ignore_errors=True)
        folder = self._parent(name) / which
        folder.mkdir(parents=True)
        if name == DESIGN:
            images = FractalDataset(2, 12, 40)
            write_pictures(images, range(len(images)), folder / "pictures")
        if name == "transfer segment":
            images = FractalDataset(2, 8, 40)
            write_scenes(images, len(images), folder / "scenes")
        if name in NEEDS:
            target, needed = NEEDS[name]
            shutil.copytree(self.reference_folder(needed) / RUN, folder / target)
        return folder

    def _kill_until_done(self, name: str, folder: Path, moments: random.Random) -> int:
        """Start and kill the command until it finishes; returns how often it was killed."""
        for kills in range(MAX_KILLS):
            process = self._start(name, folder)
            if name == DESIGN:
                _wait_for_stage(process, folder / RUN / RECORDS, moments)
            else:
                process.join(moments.uniform(0, self._seconds[name]))
            if (workers := forked.workers(folder)) and moments.random() < WORKER_SHARE:
                os.kill(moments.choice(workers), signal.SIGKILL)
                process.join(MAX_SECONDS)  # the run continues without it
            process.kill()
            process.join()
            if process.exitcode != -signal.SIGKILL:
                self._check(name, folder, process.exitcode)
                return kills
            self._check_workers_exit(name, folder)
        self.finish(name, folder)
        return MAX_KILLS

    def _start(self, name: str, folder: Path) -> ForkServerProcess:
        prepare = forked.fork_workers if "--jobs" in _EVERY[name] else None
        if name == DESIGN:
            prepare = shorten_designs
        return forked.start(forked.command, words(name), folder, prepare=prepare)

    def _check_workers_exit(self, name: str, folder: Path) -> None:
        """Check that the workers of a killed run exit, too."""
        deadline = time.monotonic() + MAX_SECONDS
        while left := forked.workers(folder):
            if time.monotonic() > deadline:
                raise RuntimeError(f"asvit {_EVERY[name]} was killed, its workers {left} run on")
            time.sleep(0.01)

    def _check(self, name: str, folder: Path, code: int | None) -> None:
        if code != 0:
            last = forked.printed(folder).strip().splitlines()[-3:]
            raise RuntimeError(
                f"asvit {_EVERY[name]} ended with {code}: {' '.join(last)} "
                f"(seed {self._seed}, see {folder})"
            )


def _wait_for_stage(process: ForkServerProcess, journal: Path, moments: random.Random) -> None:
    """Wait for some stage of a design, any with equal chance, and for a moment in it.

    By the clock alone most kills would fall in the few that take long when trainings are brief.
    """
    stages = moments.randrange(_DESIGN_STAGES)
    while process.exitcode is None:
        lines = journal.read_bytes().count(b"\n") if journal.exists() else 0
        if lines > stages:  # the first line is of the settings
            break
        process.join(0.01)
    process.join(moments.uniform(0, _MOMENT))


def shorten_designs() -> None:
    """Make designs in this process brief, by what no option changes.

    Trainings take few steps or epochs, few networks are counted before one is drawn, and processes
    that time a network or reload a copy are forked.
    """
    forked.fork_modules()
    mock.patch.object(predictor_sampler, "_SPREAD", 5).start()
    mock.patch.object(predictor_sampler, "_SAMPLED", 5).start()
    mock.patch.object(predictor_sampler, "_CHILDREN", 2).start()
    search = design_plan.DesignPlan.search

    def brief(plan: design_plan.DesignPlan) -> SearchPlan:
        return replace(search(plan), training_steps=3)

    mock.patch.object(design_plan.DesignPlan, "search", brief).start()
    mock.patch.object(fitting, "_EPOCHS", (2, 2)).start()
    mock.patch.object(fractals, "PICTURES", (100, 100)).start()
    mock.patch.object(fractals, "EPOCHS", (1, 2)).start()


def write_scenes(images: FractalDataset, count: int, folder: Path) -> None:
    """Write fractals in ADE20K's format, whose bright pixels are of the second class."""
    for index in range(count):
        part = "validation" if index % 4 == 0 else "training"
        picture = images.picture(index)
        bright = picture.convert("L").point(lambda value: 1 + (value > 127))
        for kind, image in (("images", picture), ("annotations", bright)):
            path = folder / kind / part / f"{index:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)


def words(name: str) -> list[str]:
    """The arguments of the command ``name``."""
    return [*_EVERY[name].split(), "--out", RUN]


def outcome(run: Path) -> dict[str, object]:
    """The contents of a run folder by file, without times."""
    files = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(run)): _content(path) for path in files}


def differences(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Names of the files in which two outcomes differ, or that one of them lacks."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _content(path: Path) -> object:
    """What has to be equal."""
    if path.name in _NOT_COMPARED:
        return "there"
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_bytes()))
    if path.suffix == ".onnx":  # what it says of itself has the latency
        return hashlib.sha256(onnx.load(path).graph.SerializeToString(deterministic=True)).digest()
    if path.suffix == ".jsonl":
        records = [_timeless(json.loads(line)) for line in path.read_bytes().splitlines()]
        records = [one for one in records if one.get("name") != "latency"]  # a stage of a design
        return sorted(map(json.dumps, records))  # workers finish in any order
    if path.suffix == ".csv":
        return _columns(path.read_text(encoding="utf-8"))
    if path.suffix == ".md":
        timed = ("* latency", "* time", "* seconds", "* SHA-256")
        return [line for line in path.read_text().splitlines() if not line.startswith(timed)]
    if path.suffix == ".html":
        if (path.parent / PICTURES).exists():
            return "there"  # latencies stand among the sizes
        return _TIMED.sub("", path.read_text(encoding="utf-8"))
    if path.suffix == ".safetensors":
        return _tensors(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _timeless(content: Any) -> Any:
    """``content`` of a JSON file without times."""
    if isinstance(content, dict):
        return {key: _timeless(of) for key, of in content.items() if key not in _TIMES}
    return [_timeless(of) for of in content] if isinstance(content, list) else content


def _columns(text: str) -> object:
    """A table without columns of times; the text itself if there are none."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or not _TIMES & rows[0].keys():
        return text
    return [{key: of for key, of in row.items() if key not in _TIMES} for row in rows]


def _tensors(path: Path) -> object:
    """The digest of every tensor of a file, and its metadata without times."""
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        texts = {name: _timeless(json.loads(of)) for name, of in header.items()}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return texts, {
        name: (of.dtype, of.shape, hashlib.sha256(of.numpy().tobytes()).hexdigest())
        for name, of in tensors.items()
    }
