"""Kills runs at random moments, and compares what they come to with runs never killed.

Run from a checkout: ``python -m experiments.kill_runs --kills 1000``. Every command is started in
a process of its own and killed with SIGKILL after a random part of the time that it takes; then it
is started again in the same folder, up to five times before it may get to its end. Its files must
then be those of a run that was never killed: tables and pictures to the byte, weights to the bit,
result.json but for times. A kill counts if the process was still running.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import math
import os
import platform
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from safetensors import safe_open

from asvit.runs.provenance import versions
from experiments import forked

RUN = "run"

#: Where a kill may land, by what is in the folder then.
LANDINGS = ("before the first record", "while working", "inside a write", "after the result")
WORKER = "a worker"  # or what else may be killed

SHARE_OF_WORKERS = 0.5
LONGEST = 300.0  # seconds that a run may take
MOST_KILLS = 5  # of one run, before it must get to its end undisturbed

_MEASURING = "--image-size 32 --repeats 1 --images 2 --points 3 --device cpu"
_LEARNING = "--classes 3 --train-images 24 --batch-size 6 --device cpu"
_SEARCH = f"search --space asvit-tiny --steps 8 {_MEASURING}"
_SCALE = f"scale --arch 4,2,2|4,1,2|4,1,2|4,1,2|16 --budget 2M --count-size 32 {_MEASURING}"
_CORRELATE = (
    f"correlate --reference vitbench101-pit --rows 6 --proxy length_distortion,snip {_MEASURING}"
)
_ARCHITECTURE = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"

#: Name to the words of a command that takes about a second and writes all that such runs write.
COMMANDS: Mapping[str, str] = {
    "search": _SEARCH,
    "search, SQLite": f"{_SEARCH} --controller evolution --storage sqlite:///study.db",
    "search, 2 jobs": f"{_SEARCH} --batch 2 --jobs 2",
    "scale": _SCALE,
    "scale, 2 jobs": f"{_SCALE} --jobs 2",
    "correlate": _CORRELATE,
    "correlate, 2 jobs": f"{_CORRELATE} --jobs 2",
    "reference build": "reference build --preset quick --n 3 --seeds 2 --test-images 12"
    f" --image-size 32 --width 8 --steps 4 {_LEARNING}",
    "train": f"train {_ARCHITECTURE} --recipe small --validation-images 9 --image-size 32"
    f" --epochs 9 --warmup-epochs 1 --retokenize 3/3/3 --ema 0.9 --workers 0 {_LEARNING}",
    "supernet train": "supernet train --validation-images 12 --test-images 12 --image-size 16"
    f" --width 6 --epochs 3 {_LEARNING}",
    "supernet evolve": "supernet evolve supernet --population 5 --generations 3 --keep 2"
    " --crossovers 2 --mutations 2 --random-paths 3 --retrain --device cpu",
}

#: Command to the folder that it needs, and the command whose run that is.
NEEDS = {"supernet evolve": ("supernet", "supernet train")}

# What a clock told. Everything else must be the same.
_TIMES = frozenset(
    {"wall_seconds", "training_seconds", "seconds", "elapsed", "images_per_second"}
    | {"time_fraction", "time"}
)
_DURATION = re.compile(r" in \d+ (h \d+ min|min|s)\.")  # in a report
# Its records tell of trials in flight, too; what it says of the others is in trials.csv.
_STUDY = "study.journal"


@dataclass
class Tally:
    """What has become of the kills of one command.

    Attributes:
        landings: Kills by where they landed.
        runs: Runs that were killed at least once, got to their end, and were compared.
        seconds: Duration of the run never killed.
    """

    landings: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        """All kills."""
        return self.landings.total()


class Campaign:
    """Kills runs of one command after the other.

    Args:
        folder: Where runs are made; those that went well are removed.
        seed: Of the moments.
    """

    def __init__(self, folder: Path, *, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._whole: dict[str, dict[str, object]] = {}
        self.tallies: dict[str, Tally] = {}

    def kill(self, name: str, kills: int) -> Tally:
        """Kill runs of the command ``name`` at least ``kills`` times, and compare each.

        Raises:
            RuntimeError: If a run ends otherwise than one that was never killed. Its folder is
                still there.
        """
        self.whole(name)  # tells how long it takes
        moments = random.Random(f"{self._seed} {name}")
        tally = self.tallies[name]
        while tally.kills < kills:
            folder = self.new(name, f"killed-{tally.runs}")
            survived = self._kill_until_done(name, folder, moments)
            tally.landings.update(survived)
            tally.runs += bool(survived)
            self.check_same(name, folder, what=f"after {len(survived)} kills")
            shutil.rmtree(folder)
        return tally

    def finish(self, name: str, folder: Path) -> None:
        """Let the command go on in ``folder`` to its end.

        Raises:
            RuntimeError: If it fails.
        """
        process = self._start(name, folder)
        process.join(LONGEST)
        process.kill()
        process.join()
        self._check(name, folder, process.exitcode)

    def check_same(self, name: str, folder: Path, *, what: str = "") -> None:
        """Check that the run in ``folder`` has ended as one that was never killed.

        Raises:
            RuntimeError: If not; ``what`` tells of its past.
        """
        differing = differences(outcome(folder / RUN), self.whole(name))
        if differing:
            raise RuntimeError(
                f"asvit {COMMANDS[name]} ended differently in {', '.join(differing)} {what} "
                f"(seed {self._seed}, see {folder})"
            )

    def whole(self, name: str) -> dict[str, object]:
        """What a run of the command leaves that is never killed."""
        if name not in self._whole:
            folder = self.new(name, "whole")
            began = time.monotonic()
            self.finish(name, folder)
            self.tallies[name] = Tally(seconds=time.monotonic() - began)
            self._whole[name] = outcome(folder / RUN)
        return self._whole[name]

    def whole_folder(self, name: str) -> Path:
        """The working folder of the run of the command that is never killed."""
        self.whole(name)
        return self._place(name) / "whole"

    def _place(self, name: str) -> Path:
        return self._folder / name.replace(", ", "-").replace(" ", "-")

    def new(self, name: str, which: str) -> Path:
        """A new working folder for a run of the command, with what it needs."""
        folder = self._place(name) / which
        folder.mkdir(parents=True)
        if name in NEEDS:
            target, needed = NEEDS[name]
            shutil.copytree(self.whole_folder(needed) / RUN, folder / target)
        return folder

    def _kill_until_done(self, name: str, folder: Path, moments: random.Random) -> list[str]:
        """Start the command in ``folder`` until it is done; where it was killed until then."""
        landed: list[str] = []
        for _ in range(MOST_KILLS):
            half = halves(folder)
            process = self._start(name, folder)
            process.join(moments.uniform(0, self.tallies[name].seconds))
            if (workers := forked.workers(folder)) and moments.random() < SHARE_OF_WORKERS:
                os.kill(moments.choice(workers), signal.SIGKILL)
                process.join(LONGEST)  # the run goes on without it
                landed.append(WORKER)
            process.kill()
            process.join()
            if process.exitcode != -signal.SIGKILL:
                self._check(name, folder, process.exitcode)
                return landed
            landed.append(landing(folder, half))
            self._check_alone(name, folder)
        self.finish(name, folder)
        return landed

    def _start(self, name: str, folder: Path) -> ForkServerProcess:
        prepare = forked.fork_workers if "--jobs" in COMMANDS[name] else None
        return forked.start(forked.command, words(name), folder, prepare=prepare)

    def _check_alone(self, name: str, folder: Path) -> None:
        """Check that the workers of a killed run end, too."""
        deadline = time.monotonic() + LONGEST
        while left := forked.workers(folder):
            if time.monotonic() > deadline:
                raise RuntimeError(f"asvit {COMMANDS[name]} was killed, its workers {left} run on")
            time.sleep(0.01)

    def _check(self, name: str, folder: Path, code: int | None) -> None:
        if code != 0:
            last = forked.printed(folder).strip().splitlines()[-3:]
            raise RuntimeError(
                f"asvit {COMMANDS[name]} ended with {code}: {' '.join(last)} "
                f"(seed {self._seed}, see {folder})"
            )


def words(name: str) -> list[str]:
    """The command line of the command ``name``, after ``asvit``."""
    return [*COMMANDS[name].split(), "--out", RUN]


def outcome(run: Path) -> dict[str, object]:
    """All that a run folder holds, by file name, but for what a clock told."""
    return {path.name: _content(path) for path in sorted(run.iterdir()) if path.name != ".lock"}


def differences(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Names of the files that only one of two outcomes has, or that differ."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def halves(folder: Path) -> set[tuple[str, int]]:
    """Files under ``folder`` that something was being written to: their paths and times."""
    return {
        (str(path), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.name.endswith((".part", ".journal.lock", ".db-journal")) or _is_torn(path)
    }


def landing(folder: Path, before: set[tuple[str, int]]) -> str:
    """Where the kill has landed that left ``folder``; ``before`` it, these were half written."""
    run = folder / RUN
    if halves(folder) - before:
        return "inside a write"
    if (run / "result.json").exists():
        return "after the result"
    kept = {path.name for path in run.iterdir()} - {".lock"} if run.exists() else set()
    return "while working" if kept else "before the first record"


def _is_torn(path: Path) -> bool:
    """Whether the last record of a journal has no end."""
    if path.suffix not in (".jsonl", ".journal"):
        return False
    content = path.read_bytes()
    return bool(content) and not content.endswith(b"\n")


def _content(path: Path) -> object:
    if path.name == _STUDY:
        return None
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_bytes()))
    if path.suffix == ".jsonl":
        records = [_timeless(json.loads(line)) for line in path.read_bytes().splitlines()]
        return sorted(map(json.dumps, records))  # workers end in any order
    if path.suffix == ".csv":
        return _columns(path.read_text(encoding="utf-8"))
    if path.suffix == ".html":
        return _DURATION.sub("", path.read_text(encoding="utf-8"))
    if path.suffix == ".safetensors":
        return _tensors(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _timeless(content: Any) -> Any:
    """``content`` of a JSON file without times."""
    if isinstance(content, dict):
        return {key: _timeless(of) for key, of in content.items() if key not in _TIMES}
    return [_timeless(of) for of in content] if isinstance(content, list) else content


def _columns(text: str) -> object:
    """A table without columns of times; the text itself where it has none."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or not _TIMES & rows[0].keys():
        return text
    return [{key: of for key, of in row.items() if key not in _TIMES} for row in rows]


def _tensors(path: Path) -> object:
    """Digest of every tensor of a file, and the texts beside them without times."""
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        texts = {name: _timeless(json.loads(of)) for name, of in header.items()}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return texts, {
        name: (of.dtype, of.shape, hashlib.sha256(of.numpy().tobytes()).hexdigest())
        for name, of in tensors.items()
    }


def shares(kills: int, tallies: Mapping[str, Tally]) -> Iterator[tuple[str, int]]:
    """Kills of each command, so that each takes about as much time as the others."""
    paces = {name: 1 / tally.seconds for name, tally in tallies.items()}
    for name, pace in paces.items():
        yield name, math.ceil(kills * pace / sum(paces.values()))


def markdown(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """Lines of a table of what became of the kills."""
    columns = (*LANDINGS, WORKER)
    yield f"| command | {' | '.join(columns)} | kills | runs compared | differing |"
    yield "|---|" + "--:|" * (len(columns) + 3)
    for name, tally in tallies.items():
        counts = [tally.landings[place] for place in columns]
        yield f"| {name} | {' | '.join(map(str, counts))} | {tally.kills} | {tally.runs} | 0 |"
    places = [sum(of.landings[place] for of in tallies.values()) for place in columns]
    runs = sum(tally.runs for tally in tallies.values())
    yield f"| all | {' | '.join(map(str, places))} | {sum(places)} | {runs} | 0 |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill runs of every command, and print the table of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=320, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(COMMANDS), action="append", help="this command")
    asked = parser.parse_args(arguments)
    names = asked.only or list(COMMANDS)
    forked.run(int)  # the server takes seconds to start, and so would the first run
    campaign = Campaign(Path(tempfile.mkdtemp(prefix="kill-runs-")), seed=asked.seed)
    for name in names:
        campaign.whole(name)
    for name, kills in shares(asked.kills, {name: campaign.tallies[name] for name in names}):
        tally = campaign.kill(name, kills)
        print(f"{name}: {tally.kills} kills of {tally.runs} runs", file=sys.stderr)
    libraries = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(f"seed {asked.seed}, {platform.machine()}, {libraries}\n")
    print("\n".join(markdown({name: campaign.tallies[name] for name in names})))


if __name__ == "__main__":
    main()
