"""Designs: from a folder of pictures and limits to a trained, tested and exported network."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asvit.core.console import clock, table
from asvit.core.files import expanded, write_text
from asvit.core.progress import Progress, images_told
from asvit.core.run_files import DESIGNED, MODEL, PICTURES
from asvit.core.settings import WrongOption
from asvit.designs import DesignJournal, DesignResult, DesignSettings, Model, Stage
from asvit.genotype import Growable
from asvit.reference.findings import Interval
from asvit.runs.folder import RunFiles
from asvit.runs.run import Run, imported
from asvit.search.settings import LIMITS, SearchSettings

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from asvit.executors import Workers
    from asvit.runs.training import TrainRun
    from asvit.search.limits import Limits
    from asvit.spaces.base import Architecture

#: What one would make by hand: Swin-T's blocks, heads and expansions, in windows; and the same of
#: one block a stage with half the heads, where the limits are too narrow for that.
HAND_MADE = ("4,4,4,2|2,2,4,2|2,1,4,6|2,1,4,2|32", "4,4,4|2,2,4|2,1,4|2,1,4|16")

_TESTED = 0.2  # share of the pictures that is kept aside
_LEAST = 5  # pictures of a class
_SIDES = (224, 192, 160, 128, 96, 64)  # pixels, to fall back on where time is short
_SEARCH_SIDE, _SEARCH_WIDTH = 32, 16  # of the search's trainings, whose cost is that of this width
_SHARES = {"search": 0.3, "training": 0.31, "hand-made": 0.31, "rest": 0.08}  # of the hours
_AFTER = 100.0  # seconds that tests, copies and latencies take at least
_WORTH = 40  # epochs that a network should be trained for, before time makes it smaller
_UPDATES, _EPOCHS = 3_000, (100, 400)  # that are enough, and within how many epochs
_SMALLER = (1, 0.5, 0.25, 0.12, 0.06, 0.03)  # shares of the multiply-adds, where time is short
_CAREFUL = 0.95  # share of the latency allowed that is used, as times vary
_NARROWER = 8  # widths to try for it
_QUICKEST = 3  # small networks of which one has to keep it, before anything is trained
_COPIES = {"timm": "timm", "onnx": "model.onnx", "safetensors": MODEL}


@dataclass(kw_only=True)
class DesignRun(Run[DesignSettings, DesignResult, DesignJournal]):
    """Find, train, test and export a network for your pictures, within limits.

    Searches by short trainings, makes what it finds as wide as the limits and the time allow,
    trains it and one of Swin-T's shape alike, tests both on pictures that were kept aside, and
    exports. Given again, the same command goes on where it was stopped.
    """

    command = "design"
    summary = "Make a network for your pictures, within limits."
    files = RunFiles("design", "design", DESIGNED, (PICTURES, MODEL, "model.onnx"))
    settings_type = DesignSettings
    result_type = DesignResult
    journal_type = DesignJournal
    report = imported("asvit.report.design:write_design_report")
    written = "report.html, model.safetensors, model.onnx, timm, result.json"

    workers: Workers | None = None  # of the search; the result does not depend on them

    def default_name(self) -> str:
        """Named after the pictures."""
        return f"design-{expanded(self.settings.data).name}-seed{self.settings.seed}"

    @property
    def title(self) -> str:
        """What is asked for, and the time of each stage."""
        s = self.settings
        limits = self._asked.sizes_in_words
        told = f"designing a network for {s.data}: {limits or 'within no limits'}"
        if s.hours is None:
            return told
        times = (f"{name} {clock(share * s.hours * 3600)}" for name, share in _SHARES.items())
        return f"{told}\nplan: {', '.join(times)}"

    def check(self) -> None:
        """Look names up, and whether there are limits that any network can be within."""
        import numpy as np

        from asvit.data.files import FolderDataset
        from proxies.evaluation import resolve_device

        s = self.settings
        if all(getattr(s, name) is None for name in LIMITS):
            raise WrongOption("a design needs a limit; give max_params, max_macs or max_latency")
        resolve_device(s.device)
        found = FolderDataset(expanded(s.data))
        if len(found.classes) < 2:
            raise ValueError(f"{s.data} has pictures of one class; make a folder for each class")
        self._limits(s.image_size or _SIDES[-1], len(found.classes)).sample(
            np.random.default_rng(0)
        )

    def start_values(self) -> Mapping[str, Any]:
        """The kind of device."""
        from proxies.evaluation import resolve_device

        return {"device": resolve_device(self.settings.device).type}

    def plan_facts(self) -> Mapping[str, Any]:
        """How many pictures of which classes there are, and which stages are done."""
        from asvit.data.files import FolderDataset

        images, journal = FolderDataset(expanded(self.settings.data)), self.peeked()
        done = [name for name in self._stages if journal.found(name) is not None]
        left = [name for name in self._stages if name not in done]
        return {"pictures": len(images), "classes": images.classes, "done": done, "next": left}

    def execute(self, journal: DesignJournal) -> DesignResult:
        """Go through the stages; those in the journal are not run again."""
        self._journal, self._found = journal, dict[str, Mapping[str, Any]]()
        stages = self._stages
        if journal.records:
            self._list_again()
        for place, (name, work) in enumerate(stages.items(), 1):
            found = journal.found(name)
            if found is None:
                found = work()
                journal.add_record(Stage(name, found))
                self.tell(Progress("stage", place, len(stages), state=name))
            self._found[name] = found
        return self._concluded(journal)

    def complete(self, journal: DesignJournal, result: DesignResult) -> None:
        """As the base does, with the list of pictures where it is not there."""
        self._list_again()
        super().complete(journal, result)

    def _list_again(self) -> None:
        if not (self.folder / PICTURES).exists():
            self._look()

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
            "hand-made": lambda: self._train("hand-made"),
            "test": self._test,
            "latency": self._time,
            "export": self._export,
        }

    def _look(self) -> Mapping[str, Any]:
        """Read every picture, and keep some of each class aside."""
        import numpy as np

        from asvit.data.base import divide
        from asvit.data.files import TEST, TRAIN, FolderDataset, list_text

        images = FolderDataset(expanded(self.settings.data).resolve())
        unreadable: dict[str, str] = {}
        sides: list[int] = []
        read: list[int] = []
        told = images_told(self.progress)
        for index in range(len(images)):
            try:
                sides.append(min(images.picture(index).size))
                read.append(index)
            except ValueError as error:
                unreadable[images.name(index)] = str(error)
            told(index + 1, len(images))
        labels = images.labels[read]
        for label, name in enumerate(images.classes):
            if (there := int((labels == label).sum())) < _LEAST:
                raise ValueError(
                    f"class {name!r} has {there} readable picture(s); to train, validate and test "
                    f"it needs {_LEAST} or more"
                )
        _, kept = divide(labels, _TESTED, self.settings.seed)
        part = np.full(len(read), TRAIN, dtype=object)
        part[kept] = TEST
        paths = images.paths
        rows = [
            (str(paths[index]), images.classes[label], str(what))
            for index, label, what in zip(read, labels, part, strict=True)
        ]
        content = list_text(rows)
        write_text(self.folder / PICTURES, content)
        return {
            "digest": hashlib.sha256(content.encode()).hexdigest(),
            "classes": list(images.classes),
            "train": len(rows) - len(kept),
            "test": len(kept),
            "side": int(statistics.median(sides)),
            "unreadable": unreadable,
        }

    def _plan(self) -> Mapping[str, Any]:
        """How much the search trains, in its share of the time."""
        import numpy as np

        from asvit.runs.estimate import estimate_search
        from asvit.search.limits import Limits
        from asvit.spaces import cost, load_space

        space, rng = load_space(self.settings.space), np.random.default_rng(self.settings.seed)
        settings = self._search_settings
        free = Limits(space, replace(settings, max_params=None, width=_SEARCH_WIDTH))
        drawn = [free.network(space.sample(rng)) for _ in range(15)]
        self._check_latency(drawn)
        sizes = [cost(arch, settings.image_size, self._classes).macs for arch in drawn]
        settings = replace(settings, max_macs=round(statistics.median(sizes)))
        if self.settings.hours is not None:
            there = _SHARES["search"] * self.settings.hours * 3600
            found = estimate_search(settings, self.workers, candidates=3, seconds=2)
            part = min(1.0, there / found.seconds)
            planned = self.settings.trainings
            fewer = max(min(12, planned), round(planned * math.sqrt(part)))
            steps = settings.training_steps * part * planned / fewer
            settings = replace(settings, trainings=fewer, training_steps=max(30, round(steps)))
        chosen = ("trainings", "training_steps", "max_macs")
        return {name: getattr(settings, name) for name in chosen}

    def _search(self) -> Mapping[str, Any]:
        """Short trainings, and what they make one expect."""
        from asvit.runs.search import SearchRun

        settings = replace(self._search_settings, **self._found["plan"])
        result = SearchRun(
            settings=settings, workers=self.workers, **self._options("search")
        ).run()
        told = "" if result.confirmed is None else result.confirmed.in_words
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
        there = self._found["pictures"]["side"] // 32 * 32
        own = self.settings.image_size or min(max(there, _SIDES[-1]), _SIDES[0])
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
        raise errors[0]

    def _epochs(self) -> Mapping[str, Any]:
        """How long both networks are trained: as long as it pays, or as the time allows."""
        ours, theirs = (self._training(one, 2, one).plan() for one in ("training", "hand-made"))
        enough = math.ceil(_UPDATES / ours["steps_per_epoch"])
        epochs = min(max(enough, _EPOCHS[0]), _EPOCHS[1])
        if self.settings.hours is None:
            return {"epochs": epochs}
        # A few batches tell roughly; two epochs as they will be tell well.
        result = self._training("training", 2, "timing").run()
        took = result.last.seconds
        both = took * (1 + theirs["time"]["epoch"] / ours["time"]["epoch"])
        return {"epochs": max(2, min(epochs, int(self._left / both)))}

    def _train(self, name: str) -> Mapping[str, Any]:
        result = self._training(name, self._found["epochs"]["epochs"], name).run()
        return {
            "params": result.params,
            "macs": result.macs,
            "command": result.provenance["command"],
        }

    def _test(self) -> Mapping[str, Any]:
        """Both networks on the pictures that were kept aside."""
        from asvit.data.files import TEST, ListedDataset
        from asvit.reference.intervals import paired_difference, wilson
        from asvit.runs.predicting import predict

        kept = ListedDataset(self.folder / PICTURES, TEST)
        files = [kept.name(index) for index in range(len(kept))]
        right, found = [], dict[str, Any]()
        for name in ("training", "hand-made"):
            guessed = predict(self.folder / name, files, top=1, device=self.settings.device)
            labels = [one.guesses[0].label if one.guesses else "" for one in guessed]
            names = [kept.classes[label] for label in kept.labels]
            right.append([a == b for a, b in zip(labels, names, strict=True)])
            count = sum(right[-1])
            found[name] = [100 * x for x in (count / len(kept), *wilson(count, len(kept)))]
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

        kept = self._found["pictures"]["test"]
        return {
            "limits": self._asked.sizes_in_words,
            "accuracy": f"{share('training')} of {kept} pictures that were kept aside",
            "by_hand": f"{share('hand-made')}: a network made by hand within the same limits",
            "latency": f"{timed['milliseconds']:.3g} ms for {timed['batch']} image(s) by "
            f"{timed['runtime']} on {timed['device']}, {timed['threads']} thread(s)",
        }

    def _time(self) -> Mapping[str, Any]:
        """Latencies, each measured in a process of its own."""
        sizes = self._found["size"]
        names = ("training", "hand-made")
        return {name: self._fresh_latency(sizes[name], sizes["side"]) for name in names}

    def _concluded(self, journal: DesignJournal) -> DesignResult:
        found, pictures = self._found, self._found["pictures"]
        models = []
        for name in ("training", "hand-made"):
            mean, *ends = found["test"][name]
            size = found[name]["params"], found[name]["macs"]
            took = found["latency"][name]["milliseconds"]
            text = found["size"][name]
            models.append(Model(text, *size, took, mean, Interval(*ends)))
        ours, theirs = models
        difference, *between = found["test"]["difference"]
        timed = found["latency"]["training"]
        images = {"source": self.settings.data, "digest": pictures["digest"]}
        predict = ["asvit", "predict", "PICTURE", "--weights", str(self.folder)]
        trained = [found[name]["command"] for name in ("search", "training", "hand-made")]
        return self.result(
            journal,
            {"images": images, "device": journal.device},
            **vars(ours),
            hand_made=theirs,
            difference=difference,
            difference_interval=Interval(*between),
            difference_p=found["test"].get("difference_p", math.nan),
            prediction=found["search"]["prediction"],
            image_size=found["size"]["side"],
            epochs=found["epochs"]["epochs"],
            classes=pictures["classes"],
            train_pictures=pictures["train"],
            test_pictures=pictures["test"],
            unreadable=pictures["unreadable"],
            measured_on=f"{timed['device']}, {timed['threads']} thread(s), {timed['runtime']}",
            exports=found["export"]["copies"],
            commands=[*trained, *found["export"]["commands"], shlex.join(predict)],
            next_command=shlex.join(predict),
        )

    # What the stages need.

    @property
    def _search_settings(self) -> SearchSettings:
        """The search of a design, at its own image size; its multiply-adds are planned."""
        s = self.settings
        return SearchSettings(
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

    def _check_latency(self, drawn: Sequence[Architecture]) -> None:
        """Refuse a limit of latency that small networks do not keep, before any search."""
        from asvit.spaces import cost

        if self.settings.max_latency is None:
            return
        classes, side = self._classes, self.settings.image_size or _SIDES[-1]
        narrowest = map(self._limits(side, classes, macs=1).network, drawn)
        errors = []
        for arch in sorted(narrowest, key=lambda one: cost(one, side, classes).macs)[:_QUICKEST]:
            try:
                self._fast_enough(arch, side)
            except ValueError as error:
                errors.append(error)
            else:
                return
        raise errors[0]

    def _fast_enough(self, arch: Architecture, side: int) -> Architecture:
        """The architecture, narrower where it is too slow."""
        most = self.settings.max_latency
        if most is None:
            return arch
        took = math.inf
        for _ in range(_NARROWER):
            took = self._fresh_latency(str(arch), side)["milliseconds"]
            if took <= _CAREFUL * most:
                return arch
            narrower = _narrower(arch, _CAREFUL * most / took)
            if narrower is None:
                break
            arch = narrower
        raise ValueError(f"{arch} takes {took:.3g} ms, more than the {most:g} ms allowed")

    def _fresh_latency(self, text: str, side: int) -> Mapping[str, Any]:
        """The latency of a network, measured in a process of its own."""
        s, classes = self.settings, self._classes
        words = [sys.executable, "-m", "asvit", "cost", text, "--latency", "--json"]
        given = {
            "image-size": side, "classes": classes, "batch": s.latency_batch,
            "runtime": s.latency_runtime, "device": s.device,
        }  # fmt: skip
        for name, value in given.items():
            words += [f"--{name}", str(value)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise ValueError(f"the latency of {text} cannot be measured: {ended.stderr.strip()}")
        found: Mapping[str, Any] = json.loads(ended.stdout)["architectures"][0]["latency"]
        return found

    def _sized(self, arch: Architecture, side: int) -> Mapping[str, Any]:
        """The chosen network, and the one made by hand with no more multiply-adds."""
        from asvit.genotype import Genotype
        from asvit.spaces import cost

        classes = self._classes
        macs = cost(arch, side, classes).macs
        limits = self._limits(side, classes, space="asvit", macs=macs)
        made = [limits.network(Genotype.parse(text)) for text in HAND_MADE]
        within = [one for one in made if limits.excess(one, timed=False) is None]
        by_hand = self._fast_enough((within or made[-1:])[0], side)
        return {"side": side, "training": str(arch), "hand-made": str(by_hand)}

    def _affordable(self, arch: Architecture, side: int) -> float:
        """Epochs of a network that there is time for, where one of its kind is trained beside."""
        plan = self._training_of(str(arch), side, 2, "training").plan()
        return self._left / (2 * float(plan["time"]["epoch"]))

    @property
    def _left(self) -> float:
        """Seconds for the trainings."""
        whole = 3600 * (self.settings.hours or math.inf)
        after = max(_SHARES["rest"] * whole, _AFTER) if self.settings.hours else 0.0
        return max(1.0, whole - after - self._journal.elapsed)

    def _training(self, name: str, epochs: int, folder: str) -> TrainRun:
        sizes = self._found["size"]
        return self._training_of(sizes[name], sizes["side"], epochs, folder)

    def _training_of(self, text: str, side: int, epochs: int, folder: str) -> TrainRun:
        from asvit.runs.training import TrainRun

        s = self.settings
        made: TrainRun = TrainRun.make(
            architecture=text,
            data=str(self.folder / PICTURES),
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
    def _asked(self) -> SearchSettings:
        """Settings with the limits alone."""
        s = self.settings
        given = {name: getattr(s, name) for name in (*LIMITS, "latency_batch", "latency_runtime")}
        return SearchSettings(trainings=1, **given)

    @property
    def _classes(self) -> int:
        return len(self._found["pictures"]["classes"])

    @property
    def _batch(self) -> int:
        """Images in a batch: fewer pictures would make few updates of large ones."""
        from asvit.runs.training import small_batch

        return min(small_batch(int(0.9 * self._found["pictures"]["train"])), 64)

    def _options(self, name: str) -> dict[str, Any]:
        """Folder and progress of a stage's own run; one of an earlier design starts over."""
        begun = self._journal.found(name) is not None
        return {
            "out": self.folder / name,
            "progress": self.progress,
            "fresh": self.fresh and not begun,
        }

    @classmethod
    def told(cls, result: DesignResult, screen: Console) -> Iterator[RenderableType]:
        """Both networks, and the difference."""
        yield ""
        columns = ["", "architecture", "params", "multiply-adds", "ms", "accuracy [95 %]"]
        title = f"On {result.test_pictures} pictures that were kept aside, per cent"
        yield table(columns, result.lines, title=title, left=("", "architecture"))
        yield result.difference_in_words
        for name, why in result.unreadable.items():
            yield f"could not be read: {name} ({why})"


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


def design(data: str | Path, **given: Any) -> DesignResult:
    """Find, train, test and export a network for pictures, within limits.

    The run folder holds the search, the trainings, ``model.safetensors``, ``model.onnx``, the
    folder ``timm``, ``result.json`` and the report. The same call continues a run that was
    stopped; finished stages are not run again.

    Args:
        data: A folder with a folder for each class.
        **given: The fields of :class:`asvit.designs.DesignSettings`, such as ``max_params="5M"``
            and ``hours=0.5``; what :mod:`asvit.runs` tells of; and ``workers`` of the search.

    Raises:
        ValueError: If there are too few pictures, or nothing is within the limits, too.
    """
    return DesignRun.make(data=str(data), **given).run()
