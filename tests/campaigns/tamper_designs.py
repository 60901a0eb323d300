"""Tampers with designs between a stop and its continuation; none may end wrong without a word.

Usage::

    python -m tests.campaigns.tamper_designs [--damages 40] [--seed 0] [--only "rows"]

One design is copied after its stages, and in the middle of its search and of its training. In
every copy one thing is changed: rows of its list, pictures, places, or bytes of a file that it
goes on from; and new designs get pictures of which some are equal. The command must then refuse
the change in a line that names it, or name it and leave the picture out of the test, or end in the
numbers of a design that nothing has befallen. Latencies and exports, which depend on none of it,
are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from safetensors import safe_open

from asvit.core.progress import Progress, Tell
from asvit.core.run_files import PICTURES
from asvit.data.files import TEST, TRAIN, ListedDataset
from asvit.designs.journal import DesignJournal, Stage
from asvit.designs.result import DesignResult
from asvit.runs import designing, lifecycle
from asvit.runs.search import SearchRun
from asvit.training.checkpoint import Checkpoint
from tests.campaigns import forked
from tests.campaigns.campaign import (
    ANYWHERE,
    IN_LINES,
    Damage,
    begin,
    outcomes_table,
    shorten_designs,
    write_fractals,
)

RUN, DATA = "run", "pictures"
REFUSED, NAMED, SAME, WRONG = "refused in a line", "named, left out", "same numbers", "WRONG"

IN_SEARCH, IN_TRAINING = "in search", "in training"
#: After which stage a design is stopped, or in which.
STOPS = ("pictures", IN_SEARCH, "size", IN_TRAINING, "training", "hand-made", "test")
_EARLY = ("pictures", IN_SEARCH, IN_TRAINING, "training")  # there is something left to train

_EACH = 12  # pictures of a class
_COPIES = "copies"  # the folder of the copies of a design
_TIMED = {"milliseconds": 1.0, "device": "cpu", "threads": 1, "runtime": "eager", "batch": 1}


@dataclass
class Place:
    """A copy of a stopped design, and how it is continued."""

    folder: Path  # working folder
    draw: random.Random
    run: str = RUN
    data: str = DATA
    names: list[str] = field(default_factory=list)  # of which a message must have one

    @property
    def table(self) -> Path:
        """The list of pictures."""
        return self.folder / self.run / PICTURES

    def picture(self, part: str) -> Path:
        """Some picture of a part, which a message has to name."""
        listed = ListedDataset(self.table, part)
        name = listed.name(self.draw.randrange(len(listed)))
        self.names = [name]
        return self.folder / self.data / name

    def words(self) -> list[str]:
        """The arguments that continue it."""
        options = f"--max-params 60K --trainings 5 --image-size 32 --device cpu --out {self.run}"
        return ["design", "--data", self.data, *shlex.split(options)]


Change = Callable[[Place], None]


@dataclass(frozen=True)
class Case:
    """A change, and how a design may take it."""

    name: str
    change: Change
    allowed: frozenset[str]
    stops: Sequence[str] = STOPS


def _edit_rows(how: Callable[[list[str], random.Random], list[str]]) -> Change:
    """Rows of the list are other ones."""

    def change(place: Place) -> None:
        root, header, *rows = place.table.read_text().splitlines()
        place.table.write_text("\n".join([root, header, *how(rows, place.draw), ""]))
        place.names = [PICTURES]

    return change


def _swapped(rows: list[str], old: str, new: str, count: int) -> list[str]:
    """Cells of the first rows that have one are another one."""
    places = [place for place, row in enumerate(rows) if f",{old}," in row][:count]
    swapped = {place: rows[place].replace(f",{old},", f",{new},") for place in places}
    return [swapped.get(place, row) for place, row in enumerate(rows)]


def _labels_swapped(rows: list[str], _draw: random.Random) -> list[str]:
    first, last = rows[0].split(",")[1], rows[-1].split(",")[1]
    other = {first: last, last: first}
    cells = [row.split(",") for row in rows]
    return [",".join([name, other[label], *rest]) for name, label, *rest in cells]


def _other_picture(rows: list[str], draw: random.Random) -> list[str]:
    place, other = draw.sample(range(len(rows)), 2)
    name = rows[other].partition(",")[0]
    return [f"{name},{row.partition(',')[2]}" if n == place else row for n, row in enumerate(rows)]


def _drop_list(more: Change | None = None) -> Change:
    """The list is missing; ``more`` happens before."""

    def change(place: Place) -> None:
        if more is not None:
            more(place)
        place.names = [PICTURES]
        place.table.unlink()

    return change


def _root_elsewhere(place: Place) -> None:
    """The first line of the list names another folder."""
    shutil.copytree(place.folder / DATA, place.folder / "elsewhere")
    for path in (place.folder / "elsewhere").rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"changed")
    text = place.table.read_text()
    place.table.write_text(text.replace(f"/{DATA}\n", "/elsewhere\n", 1))


def _harm(part: str, how: Callable[[Path], object]) -> Change:
    """A picture of a part is harmed."""
    return lambda place: (how(place.picture(part)), None)[1]


def _replace(path: Path) -> None:
    """Other pixels, of a picture of another class."""
    other = next(
        one for one in sorted(path.parents[1].rglob("*.png")) if one.parent != path.parent
    )
    path.write_bytes(other.read_bytes())


def _fit(path: Path) -> None:
    """Other bytes of equal length and time."""
    about, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _add_picture(place: Place) -> None:
    source = next((place.folder / DATA).rglob("*.png"))
    source.with_name("added.png").write_bytes(source.read_bytes() + b"another")


def _move(run: str = RUN, data: str = DATA, *, spelled: bool = False) -> Change:
    """The design and its pictures are elsewhere, or named by absolute paths."""

    def change(place: Place) -> None:
        for old, new in ((RUN, run), (DATA, data)):
            (place.folder / new).parent.mkdir(parents=True, exist_ok=True)
            (place.folder / old).rename(place.folder / new)
        place.run, place.data = run, data
        if spelled:
            place.run, place.data = (str(place.folder / name) for name in (run, data))

    return change


def _other_pictures(place: Place) -> None:
    """The pictures are elsewhere, and one that is trained on is another one."""
    listed = ListedDataset(place.table, TRAIN)
    _move(data="elsewhere")(place)
    place.names = [listed.name(0)]
    _replace(place.folder / "elsewhere" / listed.name(0))


_LIST, _TRAINED, _TESTED, _PLACES = "rows", "trained pictures", "tested pictures", "places"
_REFUSE, _LEAVE_OUT, _END = (frozenset({one}) for one in (REFUSED, NAMED, SAME))
_EITHER = _REFUSE | _END
_BEFORE_TEST = STOPS[:-1]  # later, neither the list nor the pictures matter
_HARMS: Mapping[str, Callable[[Path], object]] = {
    "deleted": Path.unlink, "replaced": _replace, "a bit flipped": _fit,
    "emptied": lambda path: path.write_bytes(b""), "a folder": _folder_instead,
}  # fmt: skip

#: Every change but random damages and copies.
CASES: Sequence[Case] = (
    *(
        Case(f"{_LIST}: {name}", _edit_rows(how), _REFUSE, _BEFORE_TEST)
        for name, how in {
            "one trained is tested": lambda rows, _: _swapped(rows, TRAIN, TEST, 1),
            "all trained are tested": lambda rows, _: _swapped(rows, TRAIN, TEST, 99),
            "one tested is trained": lambda rows, _: _swapped(rows, TEST, TRAIN, 1),
            "labels swapped": _labels_swapped,
            "one lost": lambda rows, draw: rows[: len(rows) - draw.randint(1, 3)],
            "one twice": lambda rows, draw: [*rows, draw.choice(rows)],
            "another picture": _other_picture,
            "all lost": lambda _rows, _draw: list[str](),
        }.items()
    ),
    Case(f"{_LIST}: list deleted", _drop_list(), _END),
    Case(f"{_LIST}: list deleted, picture added", _drop_list(_add_picture), _EITHER),
    Case(
        f"{_LIST}: list deleted, tested one too", _drop_list(_harm(TEST, Path.unlink)), _EITHER
    ),
    Case(f"{_LIST}: another root", _root_elsewhere, _END),
    *(
        Case(f"{_TRAINED}: {name}", _harm(TRAIN, how), _REFUSE, _EARLY)
        for name, how in _HARMS.items()
    ),
    *(
        Case(f"{_TESTED}: {name}", _harm(TEST, how), _LEAVE_OUT, _BEFORE_TEST)
        for name, how in _HARMS.items()
    ),
    Case(f"{_TESTED}: deleted after the test", _harm(TEST, Path.unlink), _END, ("test",)),
    Case(f"{_PLACES}: renamed", _move("renamed"), _END),
    Case(f"{_PLACES}: moved deeper", _move("deep/er/run"), _END),
    Case(f"{_PLACES}: pictures moved", _move(data="moved/here"), _END),
    Case(f"{_PLACES}: both moved", _move("deep/run", "moved"), _END),
    Case(f"{_PLACES}: absolute paths", _move(spelled=True), _END),
    Case(f"{_PLACES}: moved, one picture changed", _other_pictures, _REFUSE),
)  # fmt: skip

#: Files that a design goes on from, after which stop.
DAMAGED: Sequence[tuple[str, str]] = (
    ("size", "design.jsonl"), ("training", PICTURES), (IN_SEARCH, "search/study.journal"),
    (IN_TRAINING, "training/checkpoint.safetensors"), ("hand-made", "training/model.safetensors"),
    ("hand-made", "design.jsonl"), ("hand-made", "hand-made/model.safetensors"),
)  # fmt: skip


def _damaged(name: str, how: Damage) -> Change:
    def change(place: Place) -> None:
        path = place.folder / RUN / name
        path.write_bytes(how(path.read_bytes(), place.draw))
        place.names = [path.name, path.parent.name]

    return change


def _briefly(folder: Path | None = None) -> None:
    """Shorten a design, and copy it to ``folder`` after its stages and in the midst of two."""
    timed, write = lifecycle._timed, Checkpoint.write
    add = DesignJournal.add_record

    def keep(stop: str) -> None:
        if folder is not None and not (folder / stop).exists():
            for name in (RUN, DATA):
                shutil.copytree(name, folder / stop / name)

    def adding(journal: DesignJournal, stage: Stage) -> None:
        add(journal, stage)
        keep(stage.name)

    def telling(run: Any) -> Tell:
        tell = timed(run)

        def told(progress: Progress) -> None:
            if isinstance(run, SearchRun) and progress.done == 3:
                keep(IN_SEARCH)
            tell(progress)

        return told

    def writing(checkpoint: Checkpoint, path: Path) -> None:
        write(checkpoint, path)
        if path.parent.name == "training":
            keep(IN_TRAINING)

    shorten_designs()
    run, patch = designing.DesignRun, mock.patch.object
    patch(run, "_fresh_latency", lambda *_: _TIMED).start()
    patch(run, "_export", lambda _: {"copies": [], "commands": [], "missing": []}).start()
    patch(DesignJournal, "add_record", adding).start()
    patch(lifecycle, "_timed", telling).start()
    patch(Checkpoint, "write", writing).start()


def numbers(run: Path) -> dict[str, Any]:
    """What a design came to: its numbers, and the weights of both networks."""
    result = DesignResult.read(run / "result.json").to_json()
    kept = ("architecture", "accuracy", "accuracy_interval", "hand_made", "difference")
    more = ("train_pictures", "test_pictures", "classes", "image_size", "epochs")
    found = {name: result[name] for name in (*kept, *more)}
    for name in ("training", "hand-made"):
        with safe_open(run / name / "model.safetensors", "pt") as file:
            tensors = {key: file.get_tensor(key).numpy().tobytes() for key in file.keys()}  # noqa: SIM118
        found[name] = {key: hashlib.sha256(of).hexdigest() for key, of in tensors.items()}
    return found


class Campaign:
    """A design that nothing befalls, its copies, and what became of those that were changed.

    Args:
        folder: Parent of all folders; those that ended wrong are kept.
        seed: Seed of every draw.
    """

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        self._folder, self._seed = folder, seed
        self.counts: dict[str, Counter[str]] = {}
        self.wrong: list[str] = []
        whole = Place(folder / "whole", random.Random(seed))
        write_fractals(whole.folder / DATA)
        copies = folder / _COPIES
        code = self._run(whole, copies)
        if code != 0:
            raise RuntimeError(f"the design ended with {code}: {forked.printed(whole.folder)}")
        self._reference = numbers(whole.folder / RUN)

    def _run(self, place: Place, copies: Path | None = None) -> int:
        prepare = partial(_briefly, copies)
        return forked.run(forked.command, place.words(), place.folder, prepare=prepare)

    def try_out(self, case: Case, stop: str) -> str:
        """Change a copy of the design that was stopped, go on, and judge."""
        place = self._new(f"{case.name} {stop}")
        shutil.copytree(self._folder / _COPIES / stop, place.folder)
        case.change(place)
        code = self._run(place)
        return self._noted(case.name, stop, place, self._outcome(place, code), case.allowed)

    def _new(self, name: str) -> Place:
        folder = self._folder / f"{sum(map(Counter.total, self.counts.values())):04d}"
        return Place(folder, random.Random(f"{self._seed} {name}"))

    def _outcome(self, place: Place, code: int) -> str:
        told = forked.printed(place.folder).strip()
        last = told.rpartition("\n")[2]
        if code == 3:
            named = any(name in last for name in place.names) or not place.names
            return REFUSED if named and "Traceback" not in told else f"{WRONG}: {last}"
        if code != 0:
            return f"{WRONG}: ended with {code}: {last}"
        found, whole = numbers(place.folder / place.run), self._reference
        if found == whole:
            return SAME
        left = whole["test_pictures"] - found["test_pictures"]
        alike = all(
            found[one] == whole[one] for one in ("training", "hand-made", "train_pictures")
        )
        if alike and left == 1 and place.names[0] in told:
            return NAMED
        return f"{WRONG}: other numbers without a word"

    def _noted(
        self, name: str, stop: str, place: Place, outcome: str, allowed: frozenset[str]
    ) -> str:
        if outcome not in allowed:
            outcome = outcome if outcome.startswith(WRONG) else f"{WRONG}: {outcome}"
            self.wrong.append(f"{name}, {stop}: {outcome} (see {place.folder})")
        else:
            shutil.rmtree(place.folder)
        self.counts.setdefault(name, Counter())[outcome.partition(":")[0]] += 1
        return outcome

    def damage(self, tries: int) -> None:
        """Damage files that a design goes on from, at random."""
        draw = random.Random(self._seed)
        for number in range(tries):
            stop, name = DAMAGED[number % len(DAMAGED)]
            how = draw.choice(ANYWHERE if name.endswith(".safetensors") else IN_LINES)
            case = Case(f"damages: {name}", _damaged(name, how), _EITHER)
            self.try_out(case, stop)

    def copies(self, kind: str) -> str:
        """A new design of pictures of which some are equal: on one side, and named."""
        place = self._new(kind)
        write_fractals(place.folder / DATA, 2 * _EACH)
        one, other = sorted((place.folder / DATA).iterdir())
        files = sorted(one.iterdir())
        for path in files[:_EACH]:
            if kind == "copies: of one class":
                shutil.copy(path, one / f"copy-{path.name}")
            elif kind == "copies: in two classes":
                shutil.copy(path, other / f"copy-{path.name}")
            else:  # a class of one picture
                shutil.copy(files[-1], path)
        place.names = [files[0].name]
        if kind == "copies: a class of one picture":
            for path in files[_EACH:-1]:
                shutil.copy(files[-1], path)
            place.names = [one.name]
        code = self._run(place)
        if code != 0:
            return self._noted(kind, "-", place, self._outcome(place, code), _REFUSE)
        digests = [
            [listed.identity(index).rpartition(" ")[2] for index in range(len(listed))]
            for listed in (ListedDataset(place.table, part) for part in (TRAIN, TEST))
        ]
        apart = not {*digests[0]} & {*digests[1]} and len({*digests[1]}) == len(digests[1])
        named = place.names[0] in forked.printed(place.folder)
        outcome = NAMED if apart and named else f"{WRONG}: equal pictures, {apart=} {named=}"
        return self._noted(kind, "-", place, outcome, _LEAVE_OUT)


KINDS_OF_COPIES = (
    "copies: of one class",
    "copies: in two classes",
    "copies: a class of one picture",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Change designs in every way, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damages", type=int, default=40, help="of files, at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only changes whose name has this in it")
    parser.add_argument("--stop", choices=STOPS, action="append", help="only after this stage")
    asked = parser.parse_args(arguments)
    campaign = Campaign(begin("tamper-designs"), seed=asked.seed)
    for case in CASES:
        for stop in case.stops if asked.only in case.name else ():
            if stop in (asked.stop or STOPS):
                print(f"{case.name}, {stop}: {campaign.try_out(case, stop)}", file=sys.stderr)
    for kind in KINDS_OF_COPIES:
        if asked.only in kind:
            print(f"{kind}: {campaign.copies(kind)}", file=sys.stderr)
    campaign.damage(asked.damages)
    named = {(name,): found for name, found in campaign.counts.items()}
    print(outcomes_table(("change",), (REFUSED, NAMED, SAME, WRONG), named))
    print("\n".join(campaign.wrong), file=sys.stderr)
    sys.exit(1 if campaign.wrong else 0)


if __name__ == "__main__":
    main()
