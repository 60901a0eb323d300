"""The algorithm of designs: from pictures and limits to a tested and exported network."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from asvit.core.console import clock
from asvit.core.continuing import ELSEWHERE, check_same
from asvit.core.errors import WrongOption
from asvit.core.files import expanded, split_reading, with_reading
from asvit.core.progress import Progress, StageUnderWay, Tell, image_progress
from asvit.core.run_files import (
    ANSWERS,
    BEST,
    CHECKPOINT,
    MARKER,
    MODEL,
    PICTURES,
    PREDICTIONS,
    RECORDS,
)
from asvit.data.base import LabelledImages
from asvit.designs import fractals
from asvit.designs.families import SIDES, smallest_side, space_for
from asvit.designs.hours import AFTERWARDS
from asvit.designs.outcome import outcome
from asvit.designs.pictures import (
    PictureList,
    check_enough,
    is_generated,
    open_pictures,
    sampled_facts,
    write_pictures,
)
from asvit.designs.result import DesignResult, balance_in_words
from asvit.designs.settings import DesignSettings
from asvit.designs.sizes import Sizes, limits_of
from asvit.designs.stages import (
    FINALISTS,
    PRETRAINED,
    Exports,
    FinalTest,
    PictureFacts,
    SearchOutcome,
    Stage,
    StageResults,
    TrainingOutcome,
)
from asvit.export.formats import FORMATS
from asvit.export.int8 import check_quantiser
from asvit.measuring.latency import Latency
from asvit.networks.opening import weights_path
from asvit.runs.algorithms.design_copies import export_copies
from asvit.runs.algorithms.design_plan import DesignPlan
from asvit.runs.algorithms.design_search import default_outcome, search_outcome
from asvit.runs.algorithms.design_testing import DesignTest
from asvit.runs.algorithms.design_trainings import train, unless_it_fails
from asvit.runs.algorithms.measuring import find_space
from asvit.runs.algorithms.search import with_multiple
from asvit.runs.folder import LOCK, plain_name, remove_files
from asvit.runs.run_folder import RunFolder
from asvit.runs.search import SEARCH, SearchOptions
from asvit.runs.timing import forget
from asvit.runs.training import few_pictures_note
from asvit.search.settings import LIMITS
from asvit.spaces import load_space
from asvit.training.checkpoint import seconds_in
from asvit.training.distributed import ProcessGroup
from asvit.training.short_settings import imbalance
from proxies.evaluation import resolve_device
from proxies.text import shown

logger = logging.getLogger(__name__)

Run = RunFolder[DesignSettings, DesignResult]

#: Settings that nothing depends on before a network is chosen, but for the search's own limit.
_FREE_UNTIL_CHOICE = (
    *(*LIMITS, "width_multiple", "latency_runtime", "latency_command"),
    *("image_size", "hours", "pretrained", "architecture", "warm_start"),
)
_LATE = 0.8  # of the time planned for the training; with less left, the last round ends
_GENERATED = "pictures-{}"  # folder of generated pictures, by what they are


def execute(asked: DesignSettings, run: Run) -> DesignResult:
    """Find, train, test and export a network, stage by stage; finished ones are not run again."""
    design = Design(with_multiple(asked, None), run)
    if (finished := _finished(design)) is not None:
        return finished
    _check(design)
    _check_needs(design)
    run.title = _title(design)
    _check_moved(design)
    run.begin(design.settings, free=_free(design), device=resolve_device(asked.device).type)
    design.forget_sample()

    for name, work in stages_of(design).items():
        design.do(name, work)

    _remove_leftovers(run.folder)
    images = {"source": design.settings.data, "digest": design.results.pictures.digest}
    return run.result({"images": images}, **outcome(design.plan.last_round, run.folder))


def stages_of(design: Design) -> Mapping[str, Callable[[Design], object]]:
    """All stages in their order, by name, and what is done in each."""
    last_round = design.plan.last_round.stages
    return {
        "pictures": _list_pictures,
        "plan": lambda design: design.plan.search(),
        "search": _search,
        "finalists": lambda design: design.plan.finalists(),
        "epochs": lambda design: design.plan.epochs(),
        **{name: partial(_train_finalist, name=name) for name in last_round},
        "choice": lambda design: design.plan.choice(),
        "training": lambda design: train(design.plan.trainings.winner()),
        "test": _test,
        "latency": _measure_latency,
        "export": _export,
    }


@dataclass
class Design:
    """A design as far as it is known: what its stages came to, and what plans the next ones."""

    settings: DesignSettings
    run: Run

    def __post_init__(self) -> None:
        self.results = StageResults.of(self.run.of(Stage))  #: of the finished stages
        self.tell: Tell = self.run.progress  #: of the stage under way

    @cached_property
    def images(self) -> LabelledImages:
        """The pictures that are there when the call begins."""
        return open_pictures(self.settings.data)

    @cached_property
    def sample(self) -> PictureFacts:
        """About what the first stage gives."""
        return sampled_facts(self.images, side=SIDES[0])

    @property
    def facts(self) -> PictureFacts:
        """About the pictures: what the first stage gave, or a sample."""
        return self.results.pictures if "pictures" in self.results else self.sample

    @cached_property
    def raced(self) -> DesignSettings:
        """The settings, with the space of families that take the pictures."""
        return replace(self.settings, space=space_for(self.settings, self.facts.side))

    @cached_property
    def plan(self) -> DesignPlan:
        """Decides sizes and lengths."""
        return DesignPlan(
            self.raced,
            self.run.folder,
            self.results,
            elapsed=lambda: self.run.seconds,
            stage_options=lambda name: {"out": self.run.folder / name, "progress": self.tell},
            workers=self.run.options.workers,
        )

    @cached_property
    def pictures(self) -> PictureList:
        """The list of the pictures in the run folder."""
        data = self.settings.data
        if is_generated(data):
            data = with_reading(self.generated, split_reading(data)[1])
        return PictureList(self.run.folder / PICTURES, data, self.settings.seed)

    @property
    def generated(self) -> Path:
        """The folder of generated pictures; those of an earlier design have another."""
        name = plain_name(split_reading(self.settings.data)[0])
        return self.run.folder / _GENERATED.format(name)

    def with_sample(self) -> None:
        """Let the plan go by a sample of the pictures until they are listed."""
        self.results.setdefault("pictures", self.sample)

    def forget_sample(self) -> None:
        """Plan by what the first stage gives from now on."""
        self.results.clear()
        self.results.update(StageResults.of(self.run.of(Stage)))
        for name in ("raced", "plan"):
            vars(self).pop(name, None)

    def do(self, name: str, work: Callable[[Design], object]) -> None:
        """Do a stage that is not stored yet, and store what it comes to."""
        if name in self.results:
            return
        run = self.run
        if "pictures" in self.results and "test" not in self.results:
            self.pictures.check(self.results.pictures.digest, training=name != "test")
        began = run.seconds
        # Time of a session that was killed in the stage is known to its trainings alone.
        folders = fractals.folder_of(name), name
        run.count(sum(seconds_in(run.folder / folder / CHECKPOINT) for folder in folders))
        self.tell = self._telling(name, began)
        if name in (stages := self._with_work()):
            done = stages.index(name)
            self.tell(Progress("stage", done, len(stages), resumed=len(self.results)))
        result: Any = work(self)
        took = getattr(result, "run_seconds", 0.0)
        run.count(max(0.0, took - (run.seconds - began)))
        run.add(Stage.of(name, result))
        self.results[name] = result
        if name == "pictures":
            self.forget_sample()

    def _with_work(self) -> list[str]:
        """The stages that have something to do, as far as is known."""
        results, idle, last_round = self.results, set[str](), self.plan.last_round
        if "plan" in results and not results.plan.trainings:
            idle = {"search", *last_round.stages[1:]}
        if "finalists" in results:
            idle |= {*last_round.stages} - {*last_round.entrants}
        if "epochs" in results:
            idle -= {*results.epochs.fractals}
        return [name for name in stages_of(self) if name not in idle]

    def _telling(self, name: str, began: float) -> Tell:
        """What tells of a stage that began at a time; the stage is added to its progress."""
        run, hours = self.run, self.settings.hours
        stages = self._with_work()
        place = stages.index(name) + 1 if name in stages else 0
        planned = dict[str, float]()
        for plan in ("epochs", "choice"):
            if plan in self.results:
                planned |= self.results[plan].seconds
        if hours is not None:
            planned["search"] = self.plan.hours.of("search")

        def tell(progress: Progress) -> None:
            run.work_done = True
            left = math.nan if hours is None else 3600 * hours - run.seconds
            stage = StageUnderWay(
                *(name, place, len(stages), run.seconds - began),
                planned=planned.get(name, math.nan),
                left=left,
            )
            run.progress(replace(progress, stage=stage))

        return tell


# Before the first stage.


def _finished(design: Design) -> DesignResult | None:
    """The stored result, if it is of these settings; its pictures may be in another place."""
    result, s = design.run.earlier_result(), design.settings
    if result is None or replace(s, data=result.settings.data) != result.settings:
        return None
    if any(is_generated(data) for data in {s.data, result.settings.data}):
        return result if s.data == result.settings.data else None
    _check_moved(design)
    return result


def _check(design: Design) -> None:
    """Look names up, and whether there are limits that any network can be within."""
    s = design.settings
    if all(getattr(s, name) is None for name in LIMITS):
        raise WrongOption("a design needs a limit; give max_params, max_macs or max_latency")
    if s.hours is not None and 3600 * s.hours <= AFTERWARDS:
        raise WrongOption(f"hours={s.hours:g} are too few: tests and copies take {AFTERWARDS:g} s")
    resolve_device(s.device)
    kind, classes = design.images.kind, design.images.classes
    if s.warm_start == "fractals" and kind.channels != fractals.CHANNELS:
        raise ValueError(
            f"warm_start=fractals are pictures of {fractals.CHANNELS} channels, and {s.data} "
            f"has {kind.channels}; leave it out"
        )
    if len(classes) < 2:
        raise ValueError(
            f"{s.data} has pictures of one class, {shown(classes[0])}; give a folder with a "
            "folder for each class"
        )
    smallest = smallest_side(design.raced, design.facts.side)
    find_space(design.raced.space, image_size=smallest)
    design.with_sample()
    sizes = Sizes(design.raced, len(classes), kind.channels, design.plan.latency)
    sizes.limits(smallest).sample(np.random.default_rng(0))


def _check_needs(design: Design) -> None:
    """Check libraries and the weights that are still needed."""
    s, run = design.settings, design.run
    if run.start is None:
        ProcessGroup(s.device)
        if s.int8:
            FORMATS["onnx"].check_libraries()
            check_quantiser()
    if s.pretrained is not None:
        run.needs("what it fine-tunes", weights_path(s.pretrained))
        if "finalists" not in design.results:
            design.plan.check_pretrained(s.data)


def _title(design: Design) -> str:
    """What is asked for, how long it takes, and whether there are few pictures."""
    s, more, facts = design.settings, list[str](), design.facts
    first = f"designing a network for {s.data}: {limits_of(s).limits_in_words}"
    if s.hours is not None:
        first += f", in {clock(3600 * s.hours)}"
    uneven = imbalance(facts.sizes)
    if words := balance_in_words(s.balance_for(uneven), uneven):
        more.append(words)
    if s.pretrained is None and design.images.kind.picture:
        more += few_pictures_note(
            facts.train, "--pretrained FILE, or hub for timm's, adds them to the race"
        )
    return "\n".join([first, *more])


def _free(design: Design) -> Sequence[str]:
    """Settings that may differ from before; limits until a network is chosen.

    Generated pictures are what their name says, wherever they are.
    """
    start, now = design.run.start, design.settings
    names = (now.data if start is None else cast("DesignSettings", start.settings).data), now.data
    moved = () if any(map(is_generated, names)) else ("data",)
    return moved if "finalists" in design.results else (*moved, *_FREE_UNTIL_CHOICE)


def _check_moved(design: Design) -> None:
    """Check that pictures in another folder than before are the same."""
    start, folder = design.run.start, design.run.folder
    if start is None or "data" not in _free(design):
        return
    names = cast("DesignSettings", start.settings).data, design.settings.data
    then, now_named = map(split_reading, names)
    if then[1] != now_named[1]:
        raise ValueError(
            f"run folder {folder} was started with pictures read otherwise "
            f"({names[0]}, now {names[1]}); {ELSEWHERE}"
        )
    before, now = (expanded(place).resolve() for place, _ in (then, now_named))
    known = StageResults.of(design.run.of(Stage))
    if "pictures" in known and before != now:
        design.pictures.check_moved(known.pictures.digest)


# The stages, but for those of the plan.


def _list_pictures(design: Design) -> PictureFacts:
    """Read the pictures, and divide them; generated ones are written first."""
    if is_generated(design.settings.data):
        images = open_pictures(split_reading(design.settings.data)[0])
        places = range(len(design.images))
        write_pictures(images, places, design.generated, image_progress(design.tell))
    return design.pictures.make(design.tell)


def _search(design: Design) -> SearchOutcome:
    """Search by short trainings: their ranking, and the accuracy that they predict."""
    if not design.results.plan.trainings:
        return default_outcome(load_space(design.raced.space))
    options = SearchOptions(out=design.run.folder / "search", workers=design.run.options.workers)
    run = RunFolder[Any, Any](
        SEARCH, design.plan.search_settings, options, design.tell, page=False
    )
    return search_outcome(run.run())


def _train_finalist(design: Design, name: str) -> TrainingOutcome | None:
    """Train a network of the last round, on fractals first where it begins with them.

    Nothing where there are fewer, or where it drops out. The only one is trained on fractals at
    most: there is nothing to choose.
    """
    plan, lengths = design.plan, design.results.epochs
    last_round, trainings, hours = plan.last_round, plan.trainings, plan.hours
    raced, drawn = name in last_round.entrants, lengths.fractals.get(name)
    if not raced and drawn is None:
        return None
    after = hours.left - lengths.seconds.get(name, 0.0)
    if raced and name != last_round.entrants[0] and after < _LATE * (lengths.training or 0.0):
        text = last_round.network(name).architecture
        logger.warning("the design is late: it goes on without %s", text)
        return None

    def work() -> TrainingOutcome:
        before = (
            None
            if drawn is None
            else train(trainings.on_fractals(name, *drawn, lengths.fractal_hours))
        )
        if not raced:
            return cast("TrainingOutcome", before)
        warm = before is not None
        trained = train(
            trainings.finalist(name, lengths.epochs[name], hours=lengths.hours, warm=warm)
        )
        if before is None:
            return trained
        seconds = before.run_seconds + trained.run_seconds
        return replace(trained, before=[before.command], run_seconds=seconds)

    if not raced:
        return work()
    alone = len(last_round.entrants) == 1
    return unless_it_fails(last_round.network(name), work, alone=alone)


def _test(design: Design) -> FinalTest:
    """Test the finalists and the network on the pictures set aside."""
    last_round = design.plan.last_round
    test = DesignTest(
        design.run.folder,
        design.pictures,
        design.results.pictures,
        last_round.entrants,
        design.settings.device,
        last_round.balance != "none",
    )
    return test.run(design.results.choice)


def _measure_latency(design: Design) -> Mapping[str, Latency]:
    """Latencies of the winner and its rival, each measured again, in a process of its own.

    The rival's is left out where no time remains for it.
    """
    forget(design.settings.latency_command)
    last_round, choice = design.plan.last_round, design.results.choice
    latencies, began = dict[str, Latency](), time.monotonic()
    for name in dict.fromkeys((choice.winner, choice.by_hand or choice.winner)):
        if latencies and design.plan.hours.remaining < time.monotonic() - began:
            logger.warning("the design is late: it does not time the plain network")
            break
        text = last_round.network(name).architecture
        latencies[name] = design.plan.latency(text, last_round.side)
    for doubt in latencies[choice.winner].doubts(design.settings.max_latency or math.inf):
        logger.warning(doubt)
    return latencies


def _export(design: Design) -> Exports:
    """Copy the network in other formats, as far as the hours allow."""
    plan = design.plan
    return export_copies(design.run.folder, plan.last_round, lambda: plan.hours.remaining)


def _remove_leftovers(folder: Path) -> None:
    """Remove what only the stages needed: every network is tested, and one of them exported.

    Of a training its result and its epochs stay.
    """
    stages = (*FINALISTS, *map(fractals.folder_of, FINALISTS), *PRETRAINED, "training")
    files = (CHECKPOINT, BEST, MODEL, PREDICTIONS, ANSWERS, RECORDS, MARKER, LOCK)
    remove_files(folder, [f"{stage}/{name}" for stage in stages for name in files])


# A dry run.


def plan(run: Run) -> dict[str, Any]:
    """What a design would do: pictures, classes, stages, and about how long all takes.

    Raises:
        ValueError: If the hours are too few, or the pictures of a class; or if the run was
            started with other settings.
    """
    with TemporaryDirectory() as place:  # reading cuts off an unfinished record
        peeked = Run(run.kind, run.settings, replace(run.options, out=place))
        if (run.folder / RECORDS).exists() and not run.options.fresh:
            shutil.copy(run.folder / RECORDS, place)
        peeked.read()
    run.records, run.start = peeked.records, peeked.start
    design = Design(with_multiple(run.settings, None), run)
    _check(design)
    _check_needs(design)
    if run.start is not None:
        free = (*_free(design), "device")
        check_same(run.folder, run.start.settings, design.settings, changing=free)
    stored = StageResults.of(run.of(Stage))
    if "pictures" not in stored:
        check_enough(design.images)
    every = stages_of(design)
    done = [name for name in every if name in stored]
    left = [name for name in every if name not in done]
    times = design.plan.seconds(design.settings.data) if left else {}
    return {
        "title": _title(design),
        "pictures": len(design.images),
        "classes": design.images.classes,
        "done": done,
        "next": left,
        "seconds": {name: took for name, took in times.items() if name not in done},
    }
