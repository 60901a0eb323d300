"""Designs: from a folder of pictures and limits to a trained, tested and exported network."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.architectures.base import Growable
from asvit.architectures.genotype import Genotype
from asvit.core.codec import to_json
from asvit.core.console import clock
from asvit.core.files import expanded, read_text, write_text
from asvit.core.progress import Progress, StageUnderWay, Tell, ignore, images_told
from asvit.core.run_files import DESIGNED, MODEL, PICTURES
from asvit.core.settings import ELSEWHERE, WrongOption, fields_of
from asvit.core.signatures import CallOptions, with_options
from asvit.core.summary import SummaryPart, Table
from asvit.designs.journal import DesignJournal, Stage
from asvit.designs.result import DesignResult, Model, predict_command
from asvit.designs.settings import DesignSettings
from asvit.reference.findings import Interval
from asvit.runs.folder import RunFiles
from asvit.runs.lifecycle import peeked
from asvit.runs.run import Run
from asvit.runs.search import SearchRun
from asvit.runs.training import TrainRun, few_told, small_batch
from asvit.search.settings import LIMITS, TrainingSearchSettings
from asvit.training.settings import TrainSettings
from proxies.latency import CAREFUL, Latency
from proxies.messages import first_line, one_line

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from asvit.data.files import Seen
    from asvit.data.training_sets import PartedPictures
    from asvit.executors import Workers
    from asvit.search.limits import Limits
    from asvit.spaces.base import Architecture

logger = logging.getLogger(__name__)

#: What one would make by hand: As-ViT blocks with Swin-T's depths and expansions, in windows; and
#: the same of one block a stage with half the heads, where the limits are too narrow for that.
HAND_MADE = ("4,4,4,2|2,2,4,2|2,1,4,6|2,1,4,2|32", "4,4,4|2,2,4|2,1,4|2,1,4|16")

_TESTED = 0.2  # share of the pictures that is kept aside
_LEAST = 5  # pictures of a class
_SIDES = (224, 192, 160, 128, 96, 64)  # pixels, to fall back on where time is short
_SEARCH_SIDE, _SEARCH_WIDTH = 32, 16  # of the search's trainings, whose cost is that of this width
_SHARES = {"search": 0.3, "training": 0.31, "hand-made": 0.31, "rest": 0.08}  # of the hours
_AFTER = 100.0  # seconds that tests, copies and latencies take at least
_TRAININGS, _STEPS = 12, 30  # of a search at least, unless fewer are asked for
_GLANCED = 32  # pictures whose size is looked at to tell how long all takes
_WORTH = 40  # epochs that a network should be trained for, before time makes it smaller
_UPDATES, _EPOCHS = 3_000, (100, 400)  # that are enough, and within how many epochs
_SMALLER = (1, 0.5, 0.25, 0.12, 0.06, 0.03)  # shares of the multiply-adds, where time is short
_NARROWER = 8  # widths to try for it
_RIVAL = "hand-made"  # stage and folder of the network that is compared with
#: Settings that nothing depends on before a network is chosen, but for the search's own limit.
_CHOOSING = (
    *(*LIMITS, "latency_batch", "latency_runtime"),
    *("image_size", "hours", "teacher", "teacher_weights"),
)
_COPIES = {"timm": "timm", "onnx": "model.onnx", "safetensors": MODEL}


@dataclass(kw_only=True)
class DesignRun(Run[DesignSettings, DesignResult, DesignJournal]):
    """Find, train, test and export a network for your pictures, within limits.

    Searches by short trainings, makes what it finds as wide as the limits and the time allow,
    trains it and As-ViT blocks of Swin-T's shape alike, tests both on pictures that were kept
    aside, and exports. Given again, the same command goes on where it was stopped.
    """

    command = "design"
    files = RunFiles("design", "design", DESIGNED, (PICTURES, MODEL, "model.onnx"))
    journal_type = DesignJournal
    written = "report.html, model.safetensors, model.onnx, timm, result.json"
    may_change = ("data",)  # to where the same pictures are

    workers: Workers | None = None  # of the search; the result does not depend on them
    _seen: Seen = field(default_factory=dict, init=False)
    _named: set[str] = field(default_factory=set, init=False)  # pictures that had changed
    _tell: Tell = field(default_factory=lambda: ignore, init=False)  # of the stage under way

    def default_name(self) -> str:
        """Named after the pictures."""
        return f"design-{expanded(self.settings.data).name}-seed{self.settings.seed}"

    @property
    def title(self) -> str:
        """What is asked for, the time of each stage, and whether there are few pictures."""
        from asvit.data.training_sets import PartedPictures

        s, more = self.settings, list[str]()
        limits = self._asked.sizes_in_words
        told = f"designing a network for {s.data}: {limits or 'within no limits'}"
        if s.hours is not None:
            times = (f"{name} {clock(share * s.hours * 3600)}" for name, share in _SHARES.items())
            more = [f"plan: {', '.join(times)}"]
        if s.teacher is None:
            more += few_told(len(PartedPictures(expanded(s.data))))
        return "\n".join([told, *more])

    def check(self) -> None:
        """Look names up, and whether there are limits that any network can be within."""
        import numpy as np

        from asvit.data.training_sets import PartedPictures
        from proxies.evaluation import resolve_device

        s = self.settings
        if all(getattr(s, name) is None for name in LIMITS):
            raise WrongOption("a design needs a limit; give max_params, max_macs or max_latency")
        if s.hours is not None and 3600 * s.hours <= _AFTER:
            raise WrongOption(f"hours={s.hours:g} are too few: tests and copies take {_AFTER:g} s")
        resolve_device(s.device)
        found = PartedPictures(expanded(s.data))
        if len(found.classes) < 2:
            raise ValueError(f"{s.data} has pictures of one class; make a folder for each class")
        self._limits(s.image_size or _SIDES[-1], len(found.classes)).sample(
            np.random.default_rng(0)
        )

    def load(self) -> Mapping[str, Any]:
        """The kind of device; the weights of a teacher are read that is still to teach."""
        from asvit.data.training_sets import PartedPictures
        from proxies.evaluation import resolve_device

        s = self.settings
        start = {"device": resolve_device(s.device).type}
        if s.teacher is None or peeked(self).found(_RIVAL) is not None:
            return start
        from asvit.training.distillation import load_teacher

        classes = PartedPictures(expanded(s.data)).classes
        asked: dict[str, Any] = {"teacher": s.teacher, "teacher_weights": s.teacher_weights}
        for side in (s.image_size,) if s.image_size else (_SIDES[0], _SIDES[-1]):
            how = TrainSettings.make(architecture=s.teacher, image_size=side, **asked)
            load_teacher(how, classes)
        return start

    def free_settings(self, store: DesignJournal) -> Sequence[str]:
        """As the base has them; limits may be other ones until a network is chosen."""
        chosen = store.found("size") is not None
        return self.may_change if chosen else (*self.may_change, *_CHOOSING)

    def plan_facts(self) -> Mapping[str, Any]:
        """Pictures and classes, which stages are done, and about how long all takes.

        Raises:
            ValueError: If the hours are too few.
        """
        from asvit.data.training_sets import PartedPictures

        images, journal = PartedPictures(expanded(self.settings.data)), peeked(self)
        self._found = {one.name: one.found for one in journal.records}
        if "pictures" not in self._found:
            self._found["pictures"] = _glance(images)
        done = [name for name in self._stages if journal.found(name) is not None]
        left, times = [name for name in self._stages if name not in done], dict[str, float]()
        if left:
            times |= self._estimate(expanded(self.settings.data), *self._searching())
        seconds = {name: took for name, took in times.items() if name not in done}
        known = {"pictures": len(images), "classes": images.classes, "done": done, "next": left}
        return {**known, "seconds": seconds}

    def check_store(self, store: DesignJournal) -> None:
        """Check that pictures in another folder are the same."""
        from asvit.data.files import TEST, TRAIN, VALIDATION

        begun, pictures = store.settings, store.found("pictures")
        before, now = (expanded(s.data).resolve() for s in (begun or self.settings, self.settings))
        if pictures and before != now:
            self._check_list(pictures["digest"])
            changed = self._changed(TRAIN, VALIDATION, TEST, root=now)
            if changed:
                raise ValueError(
                    f"run folder {self.folder} was started with other pictures than those in "
                    f"{self.settings.data}: {_told(changed.items())}; {ELSEWHERE}"
                )

    def execute(self, store: DesignJournal, tell: Tell) -> DesignResult:
        """Go through the stages; those in the journal are not run again."""
        self._journal, self._found = store, dict[str, Mapping[str, Any]]()
        stages, resumed = self._stages, len(store.records)
        for place, (name, work) in enumerate(stages.items(), 1):
            found = store.found(name)
            if found is None:
                self._check_pictures(name)
                self._tell = self._of_stage(name, place, self.progress)
                begun = Progress("stage", place - 1, len(stages), resumed=resumed)
                self._of_stage(name, place, tell)(begun)
                found = work()
                store.add_record(Stage(name, found))
            self._found[name] = found
        return self._concluded(store)

    def _of_stage(self, name: str, place: int, tell: Tell) -> Tell:
        """What tells of the progress of a stage, and of the stage with it."""
        s, journal, total = self.settings, self._journal, len(self._stages)
        planned = self._found["epochs"].get("seconds", {}) if "epochs" in self._found else {}
        if s.hours is not None:
            planned = {**planned, "search": 3600 * s.hours * _SHARES["search"]}

        def told(progress: Progress) -> None:
            left = math.nan if s.hours is None else 3600 * s.hours - journal.elapsed
            seconds = journal.elapsed - journal.seconds
            stage = StageUnderWay(
                name, place, total, seconds, planned=planned.get(name, math.nan), left=left
            )
            tell(replace(progress, stage=stage))

        return told

    def conclude(self, store: DesignJournal, result: DesignResult) -> DesignResult:
        """Write the list of pictures where it is not there."""
        self._mend_list(store)
        return result

    def _mend_list(self, journal: DesignJournal) -> None:
        """Write the list of a finished design where it is missing; its result needs none."""
        try:
            self._check_list((journal.found("pictures") or {})["digest"], moved=True)
        except ValueError as error:
            logger.warning("%s", first_line(error))

    def _check_pictures(self, stage: str) -> None:
        """Refuse a list, or pictures that a stage trains on, that are not those of before.

        Pictures to test on that have changed are named, and left out of the test.
        """
        from asvit.data.files import TEST, TRAIN, VALIDATION

        if "pictures" not in self._found or "test" in self._found:
            return
        self._check_list(self._found["pictures"]["digest"], moved=True)
        if stage != "test" and (changed := self._changed(TRAIN, VALIDATION)):
            raise ValueError(
                f"{len(changed)} picture(s) to train on are not what the design in {self.folder} "
                f"began with: {_told(changed.items())}; put them back, {ELSEWHERE}"
            )
        new = {name: why for name, why in self._changed(TEST).items() if name not in self._named}
        if new:
            self._named.update(new)
            logger.warning(
                "%d picture(s) to test on are not what the design began with, and are left out of "
                "the test unless they are put back: %s",
                len(new),
                _told(new.items()),
            )

    def _changed(self, *parts: str, root: Path | None = None) -> Mapping[str, str]:
        """Pictures of these parts that are not as they were listed, and why."""
        from asvit.data.files import changed_images

        table, changed = self.folder / PICTURES, dict[str, str]()
        for part in parts:
            changed |= changed_images(table, part, self._seen, root=root)
        return changed

    def _check_list(self, digest: str, *, moved: bool = False) -> None:
        """Check that the list is the one with a digest, and write it again where it is missing.

        Where it or the pictures may have ``moved``, the line that names their folder is mended.
        """
        from asvit.data.files import root_line, split_list

        table = self.folder / PICTURES
        if not table.exists():
            content, found = self._listed()
            if found["digest"] != digest:
                raise ValueError(
                    f"{table} is missing, and the pictures in {self.settings.data} give another "
                    f"one now; restore it from a copy, {ELSEWHERE}"
                )
            self._write_list(content)
            return
        first, content = split_list(read_text(table))
        if _digest(content) != digest:
            raise ValueError(
                f"{table} is not the list that the design began with; restore it from a copy, or "
                f"remove it to have it written again, {ELSEWHERE}"
            )
        if moved and first and first != root_line(table, expanded(self.settings.data)):
            self._write_list(content)

    def _write_list(self, content: str) -> None:
        """Write the list of pictures below the line that names their folder."""
        from asvit.data.files import root_line

        table = self.folder / PICTURES
        write_text(table, root_line(table, expanded(self.settings.data)) + content)

    @property
    def _stages(self) -> Mapping[str, Callable[[], Mapping[str, Any]]]:
        """What is done, in this order. What it gives is kept in the journal."""
        return {
            "pictures": self._look,
            "plan": self._plan,
            "search": self._search,
            "size": self._size,
            "epochs": self._epochs,
            "training": lambda: self._train("training"),
            _RIVAL: lambda: self._train(_RIVAL) if _RIVAL in self._trained else {},
            "test": self._test,
            "latency": self._time,
            "export": self._export,
        }

    def _look(self) -> Mapping[str, Any]:
        """Read every picture, and keep some of each class aside."""
        content, found = self._listed()
        self._write_list(content)
        if unreadable := found["unreadable"]:
            logger.warning(
                "%d picture(s) cannot be read and are left out: %s",
                len(unreadable),
                _told(unreadable.items()),
            )
        return found

    def _listed(self) -> tuple[str, Mapping[str, Any]]:
        """The list of pictures without its first line, and what is known of them."""
        import numpy as np

        from asvit.data.copies import (
            copies_in_words,
            distinct,
            divide_apart,
            file_digest,
            kept_apart,
            sets_of_equal,
        )
        from asvit.data.files import TEST, TRAIN, ListedImage, list_text
        from asvit.data.training_sets import PartedPictures

        images = PartedPictures(expanded(self.settings.data).resolve())
        unreadable: dict[str, str] = {}
        sides: list[int] = []
        read: list[int] = []
        files: list[tuple[int, str]] = []  # bytes and SHA-256
        told = images_told(self._tell)
        for index, path in enumerate(images.paths):
            try:
                sides.append(min(images.picture(index).size))
                files.append((path.stat().st_size, file_digest(path)))
                read.append(index)
            except (ValueError, OSError) as error:
                why = str(error.__cause__ or error).replace(f"{images.root}{os.sep}", "")
                unreadable[images.name(index)] = one_line(why)
            told(index + 1, len(images))
        labels, names = images.labels[read], [images.name(index) for index in read]
        groups = np.unique([digest for _, digest in files], return_inverse=True)[1]
        own = labels[distinct(labels, groups)]
        for label, name in enumerate(images.classes):
            if (there := int((own == label).sum())) < _LEAST:
                copied = int((labels == label).sum()) > there
                raise ValueError(
                    f"class {name!r} has {there} readable picture(s)"
                    f"{' without copies and those of other classes' * copied}; to train, validate "
                    f"and test it needs {_LEAST} or more"
                )
        for line in copies_in_words(names, labels, groups):
            logger.warning("%s", line)
        if images.parts is None:
            stay, kept = divide_apart(labels, groups, _TESTED, self.settings.seed)
            part = {**dict.fromkeys(stay.tolist(), TRAIN), **dict.fromkeys(kept.tolist(), TEST)}
        else:
            given = images.parts[read]
            part = {place: given[place] for place in kept_apart(given, labels, groups)}
        _check_parts(labels, part, images.classes)
        content = list_text(
            ListedImage(names[place], images.classes[labels[place]], part[place], *files[place])
            for place in sorted(part)
        )
        of = Counter(part.values())
        return content, {
            "digest": _digest(content),
            "classes": list(images.classes),
            "train": len(part) - of[TEST],
            "test": of[TEST],
            "side": int(statistics.median(sides)),
            "unreadable": unreadable,
            "equal": [[names[place] for place in one] for one in sets_of_equal(groups)],
        }

    def _plan(self) -> Mapping[str, Any]:
        """How much the search trains, in its share of the time."""
        settings, drawn = self._searching()
        side = self.settings.image_size or _SIDES[-1]
        if (error := self._too_slow(drawn, side)) is not None:
            raise error
        rival = self._too_slow([Genotype.parse(text) for text in HAND_MADE], side)
        if rival is not None:
            logger.warning("%s: there will be no network made by hand to compare with", rival)
        if self.settings.hours is not None:
            there = _SHARES["search"] * self.settings.hours * 3600
            times = self._estimate(self.folder / PICTURES, settings, drawn)
            part = min(1.0, there / times["search"])
            planned = self.settings.trainings
            fewer = max(min(_TRAININGS, planned), round(planned * math.sqrt(part)))
            steps = round(settings.training_steps * part * planned / fewer)
            settings = replace(settings, trainings=fewer, training_steps=max(_STEPS, steps))
        chosen = ("trainings", "training_steps", "max_macs", "max_params")
        return {**{name: getattr(settings, name) for name in chosen}, "rival": rival is None}

    def _searching(self) -> tuple[TrainingSearchSettings, Sequence[Architecture]]:
        """The search that there would be time for without a limit, and architectures drawn."""
        import numpy as np

        from asvit.search.limits import Limits
        from asvit.spaces import cost, load_space

        space, rng = load_space(self.settings.space), np.random.default_rng(self.settings.seed)
        settings = self._search_settings
        free = Limits(space, replace(settings, max_params=None, width=_SEARCH_WIDTH))
        drawn = [free.network(space.sample(rng)) for _ in range(15)]
        sizes = [cost(arch, settings.image_size, self._classes).macs for arch in drawn]
        return replace(settings, max_macs=round(statistics.median(sizes))), drawn

    def _estimate(
        self, data: Path, settings: TrainingSearchSettings, drawn: Sequence[Architecture]
    ) -> Mapping[str, float]:
        """About how many seconds the parts take, with nothing cut short.

        A network of middling size stands for those that are trained.

        Raises:
            ValueError: If the least that can be done takes longer than the hours.
        """
        from asvit.runs.estimate import training_seconds
        from asvit.spaces import cost

        hours, side, classes = self.settings.hours, self._own_side, self._classes
        search = training_seconds(replace(settings, data=str(data)), self.workers)
        network = self._limits(side, classes).network
        sizes = sorted(map(network, drawn), key=lambda one: cost(one, side, classes).macs)
        typical = str(sizes[len(sizes) // 2])
        plan = self._training_of(typical, side, 2, "training", data=data).plan()
        epoch = float(plan["time"]["epoch"])
        training = epoch * _enough(plan["steps_per_epoch"])
        planned = self.settings.trainings
        few = min(_TRAININGS, planned) * _STEPS
        smallest = _SMALLER[-1]
        if self.settings.image_size is None:
            smallest *= (_SIDES[-1] / side) ** 2
        least = search * few / (planned * settings.training_steps)
        least += 2 * 2 * epoch * smallest + _AFTER
        if hours is not None and 3600 * hours < least:
            raise ValueError(
                f"hours={hours:g} ({clock(3600 * hours)}) are too few: the shortest search, two "
                f"epochs of the smallest networks, tests and copies take about {clock(least)}"
            )
        return {"search": search, "training": training, _RIVAL: training, "rest": _AFTER}

    def _search(self) -> Mapping[str, Any]:
        """Short trainings, and what they make one expect."""
        known = fields_of(TrainingSearchSettings)
        planned = {name: one for name, one in self._found["plan"].items() if name in known}
        settings = replace(self._search_settings, **planned)
        result = SearchRun.algorithm(
            settings=settings, workers=self.workers, **self._options("search")
        ).run()
        told = "" if result.confirmed is None else str(result.confirmed.estimate)
        trust = "" if result.predictor is None else result.predictor.in_words
        return {
            "finalists": [one.architecture for one in result.seed_first],
            "prediction": f"{told} % [90 %] in fresh short trainings; {trust}" if told else trust,
            "command": result.provenance["command"],
        }

    def _size(self) -> Mapping[str, Any]:
        """The image size and the widths that limits and time allow."""
        from asvit.spaces import load_space

        space = load_space(self.settings.space)
        own = self._own_side
        smaller = [side for side in _SIDES if side < own and self.settings.image_size is None]
        sizes = [(side, 1.0) for side in (own, *smaller)]
        sizes += [(sizes[-1][0], share) for share in _SMALLER[1:]]
        errors: list[ValueError] = []
        for text in self._found["search"]["finalists"]:
            smallest: tuple[Architecture, int] | None = None
            for side, share in sizes:
                try:
                    smallest = self._widest(space.parse(text), side, share), side
                except ValueError as error:  # too large or slow at any width
                    errors.append(error)
                    continue
                if self.settings.hours is None or self._affordable(*smallest) >= _WORTH:
                    break
            if smallest is not None:
                return self._sized(*smallest)
        raise ValueError(f"{errors[0]}; the same command with another limit goes on from here")

    def _epochs(self) -> Mapping[str, Any]:
        """How long both networks are trained: as long as it pays, or as the time allows."""
        plans = {name: self._training(name, 2, name).plan() for name in self._trained}
        epochs = _enough(plans["training"]["steps_per_epoch"])
        each = {name: float(plan["time"]["epoch"]) for name, plan in plans.items()}
        if self.settings.hours is not None:
            # A few batches tell roughly; two epochs as they will be tell well.
            took = self._training("training", 2, "timing").run().last.seconds
            each = {name: one * took / each["training"] for name, one in each.items()}
            epochs = max(2, min(epochs, int(self._left / sum(each.values()))))
        return {"epochs": epochs, "seconds": {name: epochs * one for name, one in each.items()}}

    def _train(self, name: str) -> Mapping[str, Any]:
        result = self._training(name, self._found["epochs"]["epochs"], name).run()
        return {
            "params": result.params,
            "macs": result.macs,
            "command": result.provenance["command"],
        }

    def _test(self) -> Mapping[str, Any]:
        """The networks on the pictures that were kept aside, but for those that have changed."""
        from asvit.data.files import TEST, ListedDataset
        from asvit.reference.intervals import paired_difference, wilson
        from asvit.runs.predicting import predict

        kept = ListedDataset(self.folder / PICTURES, TEST)
        left_out = dict(self._changed(TEST))
        files = [
            (kept.name(index), path, kept.classes[label])
            for index, (path, label) in enumerate(zip(kept.paths, kept.labels, strict=True))
            if kept.name(index) not in left_out
        ]
        guesses: dict[str, list[str]] = {}
        for name in self._trained if files else ():
            paths = [path for _, path, _ in files]
            guessed = predict(self.folder / name, paths, top=1, device=self.settings.device)
            for (file, _, _), one in zip(files, guessed, strict=True):
                if not one.guesses:
                    left_out[file] = one.reason.replace(f"{kept.root}{os.sep}", "")
            guesses[name] = [one.guesses[0].label if one.guesses else "" for one in guessed]
        tested = [place for place, (file, _, _) in enumerate(files) if file not in left_out]
        if len(tested) < 2:
            raise ValueError(
                f"{len(left_out)} of {len(kept)} pictures to test on are not what the design in "
                f"{self.folder} began with: {_told(left_out.items())}; put them back, {ELSEWHERE}"
            )
        right, found = list[list[bool]](), dict[str, Any]()
        for name, labels in guesses.items():
            right.append([labels[n] == files[n][2] for n in tested])
            count = sum(right[-1])
            found[name] = [100 * x for x in (count / len(tested), *wilson(count, len(tested)))]
        found |= {"pictures": len(tested), "left_out": left_out}
        if len(right) < 2:
            return found
        apart = paired_difference(*right)
        difference = [100 * x for x in (apart.value, *apart.interval)]
        return {**found, "difference": difference, "difference_p": apart.p}

    def _export(self) -> Mapping[str, Any]:
        """Copies of the network; of a format whose libraries are missing there is none."""
        from asvit.export.formats import FORMATS
        from asvit.runs.exporting import export_network

        copies, commands, missing = [], [], []
        facts = {"designed": self._told_to_users()}
        for form, name in _COPIES.items():
            try:
                FORMATS[form].check_libraries()
            except ImportError as error:
                missing.append(f"{form}: {error}")
                continue
            exported = export_network(
                weights=str(self.folder / "training"),
                to=form,
                out=str(self.folder / name),
                force=True,
                facts=facts,
            )
            copies.append(name)
            commands.append(exported.command)
        return {"copies": copies, "commands": commands, "missing": missing}

    def _told_to_users(self) -> Mapping[str, str]:
        """What the card of a copy says of the design."""
        tested, timed = self._found["test"], self._found["latency"]["training"]

        def share(name: str) -> str:
            mean, low, high = tested[name]
            return f"{mean:.1f} % [{low:.1f}, {high:.1f}]"

        kept, by_hand = tested["pictures"], "none is within the same limits"
        if _RIVAL in self._trained:
            by_hand = f"{share(_RIVAL)}: a network made by hand within the same limits"
        return {
            "limits": self._asked.sizes_in_words,
            "accuracy": f"{share('training')} of {kept} pictures that were kept aside",
            "by_hand": by_hand,
            "latency": f"{timed['milliseconds']:.3g} ms for {timed['batch']} image(s) by "
            f"{timed['runtime']} on {timed['device']}, {timed['threads']} thread(s)",
        }

    def _time(self) -> Mapping[str, Any]:
        """Latencies, each measured in a process of its own."""
        sizes = self._found["size"]
        latencies = {
            name: self._fresh_latency(sizes[name], sizes["side"]) for name in self._trained
        }
        stored: Mapping[str, Any] = to_json(latencies)
        return stored

    def _concluded(self, journal: DesignJournal) -> DesignResult:
        found, pictures = self._found, self._found["pictures"]
        models = []
        for name in self._trained:
            mean, *ends = found["test"][name]
            size = found[name]["params"], found[name]["macs"]
            took = found["latency"][name]["milliseconds"]
            text = found["size"][name]
            models.append(Model(text, *size, took, mean, Interval(*ends)))
        ours, theirs = models if len(models) > 1 else (models[0], None)
        difference, *between = found["test"].get("difference", [None])
        timed = found["latency"]["training"]
        images = {"source": self.settings.data, "digest": pictures["digest"]}
        predict = predict_command(self.folder)
        trained = [found[name]["command"] for name in ("search", *self._trained)]
        return self.result(
            journal,
            {"images": images, "device": journal.device},
            **vars(ours),
            hand_made=theirs,
            difference=difference,
            difference_interval=Interval(*between) if between else None,
            difference_p=found["test"].get("difference_p", math.nan),
            not_compared=found["size"].get("without", ""),
            prediction=found["search"]["prediction"],
            image_size=found["size"]["side"],
            epochs=found["epochs"]["epochs"],
            classes=pictures["classes"],
            train_pictures=pictures["train"],
            test_pictures=found["test"]["pictures"],
            unreadable=pictures["unreadable"],
            equal=pictures["equal"],
            left_out=found["test"]["left_out"],
            measured_on=f"{timed['device']}, {timed['threads']} thread(s), {timed['runtime']}",
            exports=found["export"]["copies"],
            commands=[*trained, *found["export"]["commands"], predict],
            next_command=predict,
        )

    # What the stages need.

    @property
    def _search_settings(self) -> TrainingSearchSettings:
        """The search of a design, at its own image size; its multiply-adds are planned."""
        s = self.settings
        return TrainingSearchSettings(
            space=s.space,
            controller="predictor",
            trainings=s.trainings,
            max_params=s.max_params,
            image_size=_SEARCH_SIDE,
            data=str(self.folder / PICTURES),
            device=s.device,
            seed=s.seed,
        )

    def _limits(
        self, side: int, classes: int, *, space: str | None = None, macs: int | None = None
    ) -> Limits:
        """The limits of networks for images of this side, and one of multiply-adds beside."""
        from asvit.search.limits import Limits
        from asvit.spaces import load_space

        s = self.settings
        most = min((one for one in (s.max_macs, macs) if one is not None), default=None)
        chosen = replace(
            self._asked, space=space or s.space, classes=classes, image_size=side, max_macs=most
        )
        return Limits(load_space(chosen.space), chosen)

    def _widest(self, arch: Architecture, side: int, share: float) -> Architecture:
        """The architecture as wide as the limits allow, or with a share of its multiply-adds.

        Raises:
            ValueError: If it is beyond them at any width.
        """
        from asvit.spaces import cost

        classes = self._classes
        limits = self._limits(side, classes)
        widest = limits.network(arch)
        if share < 1:
            most = round(share * cost(widest, side, classes).macs)
            limits = self._limits(side, classes, macs=most)
            widest = limits.network(arch)
        if (excess := limits.excess(widest, timed=False)) is not None:
            raise ValueError(f"{widest}: {excess.reason}")
        return self._fast_enough(widest, side)

    def _too_slow(self, drawn: Sequence[Architecture], side: int) -> ValueError | None:
        """Why the quickest of these is too slow at any width; None where one is not."""
        from asvit.search.limits import check_latency
        from asvit.spaces import cost

        if self.settings.max_latency is None:
            return None
        classes = self._classes
        try:
            check_latency(
                map(self._limits(side, classes, macs=1).network, drawn),
                lambda one: cost(one, side, classes).macs,
                lambda one: self._fast_enough(one, side),
            )
        except ValueError as error:
            return error
        return None

    def _fast_enough(self, arch: Architecture, side: int) -> Architecture:
        """The architecture, narrower where it is too slow."""
        most = self.settings.max_latency
        if most is None:
            return arch
        took = math.inf
        for _ in range(_NARROWER):
            took = self._fresh_latency(str(arch), side).milliseconds
            if took <= CAREFUL * most:
                return arch
            narrower = _narrower(arch, CAREFUL * most / took)
            if narrower is None:
                break
            arch = narrower
        raise ValueError(f"{arch} takes {took:.3g} ms, more than the {most:g} ms allowed")

    def _fresh_latency(self, text: str, side: int) -> Latency:
        """The latency of a network, measured in a process of its own."""
        from asvit.runs.timing import fresh_latency

        s = self.settings
        how = side, s.latency_batch, s.device, s.latency_runtime
        return fresh_latency(text, *how, num_classes=self._classes)

    def _sized(self, arch: Architecture, side: int) -> Mapping[str, Any]:
        """The chosen network, and one made by hand with no more multiply-adds if that can be."""
        from asvit.spaces import cost

        classes = self._classes
        macs = cost(arch, side, classes).macs
        limits = self._limits(side, classes, space="asvit", macs=macs)
        chosen, without = {"side": side, "training": str(arch)}, ""
        for text in HAND_MADE:
            made = limits.network(Genotype.parse(text))
            try:
                if (excess := limits.excess(made, timed=False)) is not None:
                    raise ValueError(f"{made}: {excess.reason}")
                return {**chosen, _RIVAL: str(self._fast_enough(made, side))}
            except ValueError as error:
                without = str(error)
        logger.warning("%s: there is no network made by hand to compare with", without)
        return {**chosen, _RIVAL: None, "without": without}

    def _affordable(self, arch: Architecture, side: int) -> float:
        """Epochs of a network that there is time for, where one of its kind is trained beside."""
        plan = self._training_of(str(arch), side, 2, "training").plan()
        networks = 2 if self._found["plan"]["rival"] else 1
        return self._left / (networks * float(plan["time"]["epoch"]))

    @property
    def _trained(self) -> Sequence[str]:
        """The networks that are trained: what was found, and what it is compared with, if any."""
        return [name for name in ("training", _RIVAL) if self._found["size"][name] is not None]

    @property
    def _left(self) -> float:
        """Seconds for the trainings."""
        whole = 3600 * (self.settings.hours or math.inf)
        after = max(_SHARES["rest"] * whole, _AFTER) if self.settings.hours else 0.0
        return max(1.0, whole - after - self._journal.elapsed)

    def _training(self, name: str, epochs: int, folder: str) -> TrainRun:
        sizes = self._found["size"]
        return self._training_of(sizes[name], sizes["side"], epochs, folder)

    def _training_of(
        self, text: str, side: int, epochs: int, folder: str, *, data: Path | None = None
    ) -> TrainRun:
        s = self.settings
        made: TrainRun = TrainRun.make(
            architecture=text,
            data=str(data or self.folder / PICTURES),
            bad_images="stop" if data is None else "replace",
            image_size=side,
            recipe="small",
            batch_size=self._batch,
            epochs=epochs,
            seed=s.seed,
            device=self.settings.device,
            teacher=s.teacher,
            teacher_weights=s.teacher_weights,
            **self._options(folder),
        )
        return made

    @property
    def _asked(self) -> TrainingSearchSettings:
        """Settings with the limits alone."""
        s = self.settings
        given = {name: getattr(s, name) for name in (*LIMITS, "latency_batch", "latency_runtime")}
        return TrainingSearchSettings(trainings=1, **given)

    @property
    def _classes(self) -> int:
        return len(self._found["pictures"]["classes"])

    @property
    def _own_side(self) -> int:
        """Side of the images where time does not make them smaller, in pixels."""
        there = self._found["pictures"]["side"] // 32 * 32
        return self.settings.image_size or min(max(there, _SIDES[-1]), _SIDES[0])

    @property
    def _batch(self) -> int:
        """Images in a batch: fewer pictures would make few updates of large ones."""
        return min(small_batch(int(0.9 * self._found["pictures"]["train"])), 64)

    def _options(self, name: str) -> dict[str, Any]:
        """Folder and progress of a stage's own run; one of an earlier design starts over."""
        begun = name in self._found
        return {
            "out": self.folder / name,
            "progress": self._tell,
            "fresh": self.fresh and not begun,
            "may_move": ("data",),  # with the folder; the list has digests of the pictures
        }

    @classmethod
    def summary(cls, result: DesignResult) -> Iterator[SummaryPart]:
        """The networks and the difference, how they were trained, and pictures left out."""
        columns = ["", "architecture", "params", "multiply-adds", "ms", "accuracy [95 %]"]
        title = f"On {result.test_pictures} pictures that were kept aside, per cent"
        yield Table(columns, result.lines, title)
        yield result.difference_in_words
        if result.hand_made_in_words:
            yield result.hand_made_in_words
        yield (
            f"{result.image_size} px, {len(result.classes)} classes, trained for {result.epochs} "
            f"epochs on {result.train_pictures} pictures; times on {result.measured_on}; "
            f"all in {clock(result.wall_seconds)}"
        )
        if result.prediction:
            yield f"from the search: {result.prediction}"
        for title, reasons in (
            ("Pictures that could not be read", result.unreadable),
            ("Pictures left out of the test, which had changed", result.left_out),
        ):
            if reasons:
                yield Table(["picture", "why"], list(reasons.items()), title)

    @classmethod
    def details(cls, result: DesignResult) -> Iterator[Table]:
        """Equal pictures, and what repeats each stage."""
        if result.equal:
            yield Table(
                ["names"], [[" = ".join(names)] for names in result.equal], "Equal pictures"
            )
        commands = [[command] for command in result.commands]
        yield Table(["command"], commands, "Each stage again")


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _told(pictures: Iterable[tuple[str, str]]) -> str:
    """A few pictures with what is wrong with each."""
    from asvit.data.copies import some_of

    return some_of([f"{name} ({why})" for name, why in pictures])


def _enough(steps: int) -> int:
    """Epochs of so many updates that are enough."""
    return min(max(math.ceil(_UPDATES / steps), _EPOCHS[0]), _EPOCHS[1])


def _check_parts(labels: Any, part: Mapping[int, str], classes: Sequence[str]) -> None:
    """Check that there are pictures to train on of each class, and some to test on."""
    from asvit.data.files import TEST, TRAIN

    to_train = Counter(int(labels[place]) for place, of in part.items() if of == TRAIN)
    for label, name in enumerate(classes):
        if (there := to_train[label]) < _LEAST - 1:
            raise ValueError(
                f"class {name!r} has {there} readable picture(s) to train on; it needs "
                f"{_LEAST - 1} or more"
            )
    if TEST not in part.values():
        raise ValueError("none of the pictures to test on can be read")


def _glance(images: PartedPictures) -> Mapping[str, Any]:
    """About what the first stage would find, from a few of the pictures."""
    sides = list[int]()
    for index in range(0, len(images), -(-len(images) // _GLANCED)):
        with suppress(ValueError):  # the first stage tells of those that cannot be read
            sides.append(min(images.picture(index).size))
    return {
        "classes": images.classes,
        "side": int(statistics.median(sides or _SIDES[:1])),
        "train": round((1 - _TESTED) * len(images)),
    }


def _narrower(arch: Architecture, share: float) -> Architecture | None:
    """The architecture at about a share of its width, or the narrowest; None where there is none.

    Widths with fewer channels than heads are passed over.
    """
    if not isinstance(arch, Growable):
        return None
    width: int = arch.width  # type: ignore[attr-defined]
    for narrower in range(max(1, int(share * width)), width):
        with suppress(ValueError):
            return arch.with_(width=narrower)
    return None


@with_options(DesignSettings, DesignRun, CallOptions)
def design(data: str | Path, *, workers: Workers | None = None, **given: Any) -> DesignResult:
    """Find, train, test and export a network for pictures, within limits.

    The run folder holds the search, the trainings, ``model.safetensors``, ``model.onnx``, the
    folder ``timm``, ``result.json`` and the report. The same call continues a run that was
    stopped; finished stages are not run again.

    Args:
        data: A folder with a folder for each class, or ``train``, ``val`` and ``test`` of these.
        workers: Processes of the search; the result does not depend on them.

    Raises:
        ValueError: If there are too few pictures, or nothing is within the limits, too.

    Example:
        >>> result = asvit.design("pictures", max_params="5M", hours=1)  # doctest: +SKIP
        >>> result.architecture  # doctest: +SKIP
    """
    return DesignRun.make(data=str(data), workers=workers, **given).run()
