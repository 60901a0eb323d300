"""A design, stage by stage, each of which is in the journal once it is done."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from asvit.core.console import clock
from asvit.core.continuing import ELSEWHERE
from asvit.core.errors import WrongOption
from asvit.core.files import expanded, split_reading, with_reading
from asvit.core.progress import Progress, StageUnderWay, Tell, ignore, image_progress
from asvit.core.run_files import CHECKPOINT, PICTURES, RESULT
from asvit.data.base import LabelledImages
from asvit.designs import fractals
from asvit.designs.families import SIDES, smallest_side, space_for
from asvit.designs.hours import AFTERWARDS
from asvit.designs.journal import DesignJournal
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
    StageResults,
    TrainingOutcome,
)
from asvit.export.formats import FORMATS
from asvit.export.quantisation import check_quantiser
from asvit.measuring.latency import Latency
from asvit.networks.opening import weights_path
from asvit.runs.algorithms.design_copies import export_copies, files_beside_copies
from asvit.runs.algorithms.design_plan import DesignPlan
from asvit.runs.algorithms.design_search import default_outcome, search_outcome
from asvit.runs.algorithms.design_testing import DesignTest
from asvit.runs.algorithms.design_trainings import train, unless_it_fails
from asvit.runs.algorithms.search import with_multiple
from asvit.runs.checks import check_stay, find_space
from asvit.runs.command_latency import forget
from asvit.runs.designing import DesignRun
from asvit.runs.folder import plain_name
from asvit.runs.lifecycle import check_settings, finished_result, peeked
from asvit.runs.run_folder import RunFolder
from asvit.runs.search import SEARCH, SearchOptions
from asvit.runs.training import TRAIN, few_pictures_note
from asvit.search.settings import LIMITS
from asvit.spaces import load_space
from asvit.training.checkpoint import seconds_in
from asvit.training.distributed import ProcessGroup
from asvit.training.short_settings import imbalance
from proxies.evaluation import resolve_device
from proxies.text import shown

logger = logging.getLogger(__name__)

#: Settings that nothing depends on before a network is chosen, but for the search's own limit.
_FREE_UNTIL_CHOICE = (
    *(*LIMITS, "width_multiple", "latency_runtime", "latency_command"),
    *("image_size", "hours", "pretrained", "architecture", "warm_start"),
)
_LATE = 0.7  # of the hours; with less of them left, the last round takes no other network
_GENERATED = "pictures-{}"  # folder of generated pictures, by what they are


@dataclass(kw_only=True)
class DesignAlgorithm(DesignRun):
    """Executes a design."""

    results: StageResults = field(default_factory=StageResults, init=False)
    _tell: Tell = field(default_factory=lambda: ignore, init=False)  # of the stage under way
    _journal: DesignJournal = field(init=False, repr=False, compare=False)

    def resolved(self) -> Self:
        """With the final width multiple."""
        return replace(self, settings=with_multiple(self.settings, None))

    @cached_property
    def picture_list(self) -> PictureList:
        """The list of pictures in the run folder."""
        return PictureList(self.folder / PICTURES, self._source, self.settings.seed)

    @property
    def _source(self) -> str:
        """The folder of the pictures: the user's, or that of generated ones."""
        data = self.settings.data
        if not is_generated(data):
            return data
        return with_reading(self._generated, split_reading(data)[1])

    @property
    def _generated(self) -> Path:
        """The folder of generated pictures; those of an earlier design have another."""
        return self.folder / _GENERATED.format(plain_name(split_reading(self.settings.data)[0]))

    @cached_property
    def plan(self) -> DesignPlan:
        """Decides sizes and lengths."""
        return DesignPlan(
            self._raced,
            self.folder,
            self.results,
            elapsed=lambda: self._journal.elapsed,
            stage_options=self._stage_options,
            workers=self.workers,
        )

    @cached_property
    def _raced(self) -> DesignSettings:
        """The settings, with the space of families that take the pictures."""
        if finished_result(self) is not None:  # whose pictures may be gone
            return self.settings
        pictures = self.results.get("pictures") or self._sampled_facts
        space = space_for(self.settings, pictures.side)
        return replace(self.settings, space=space)

    @property
    def stages(self) -> Mapping[str, Callable[[], object]]:
        """The work of each stage, in order; the journal stores their results."""
        return {
            "pictures": self._list_pictures,
            "plan": self.plan.search,
            "search": self._search,
            "finalists": self.plan.finalists,
            "epochs": self.plan.epochs,
            **{name: partial(self._last_round, name) for name in self.plan.last_round.stages},
            "choice": self.plan.choice,
            "training": lambda: train(self.plan.trainings.winner()),
            "test": self._test,
            "latency": self._measure_latency,
            "export": self._export,
        }

    # The run.

    @property
    def title(self) -> str:
        """What is asked for, how long it takes, and whether there are few pictures."""
        s, more, facts = self.settings, list[str](), self._sampled_facts
        first = f"designing a network for {s.data}: {limits_of(s).limits_in_words}"
        if s.hours is not None:
            first += f", in {clock(3600 * s.hours)}"
        uneven = imbalance(facts.sizes)
        if words := balance_in_words(s.balance_for(uneven), uneven):
            more.append(words)
        if s.pretrained is None and self._images.kind.picture:
            more += few_pictures_note(
                facts.train, "--pretrained FILE, or hub for timm's, adds them to the race"
            )
        return "\n".join([first, *more])

    @cached_property
    def _images(self) -> LabelledImages:
        """The pictures that are there when the call begins."""
        return open_pictures(self.settings.data)

    @cached_property
    def _sampled_facts(self) -> PictureFacts:
        """About what the first stage gives."""
        return sampled_facts(self._images, side=SIDES[0])

    def check(self) -> None:
        """Look names up, and whether there are limits that any network can be within."""
        s = self.settings
        if all(getattr(s, name) is None for name in LIMITS):
            raise WrongOption("a design needs a limit; give max_params, max_macs or max_latency")
        if s.hours is not None and 3600 * s.hours <= AFTERWARDS:
            raise WrongOption(
                f"hours={s.hours:g} are too few: tests and copies take {AFTERWARDS:g} s"
            )
        resolve_device(s.device)
        classes, channels = self._classes_and_channels()
        if s.warm_start == "fractals" and channels != fractals.CHANNELS:
            raise ValueError(
                f"warm_start=fractals are pictures of {fractals.CHANNELS} channels, and {s.data} "
                f"has {channels}; leave it out"
            )
        if len(classes) < 2:
            raise ValueError(
                f"{s.data} has pictures of one class, {shown(classes[0])}; give a folder with a "
                "folder for each class"
            )
        smallest = self._smallest_side
        find_space(self._raced.space, image_size=smallest)
        sizes = Sizes(self._raced, len(classes), channels, self.plan.latency)
        sizes.limits(smallest).sample(np.random.default_rng(0))

    @property
    def _smallest_side(self) -> int:
        """That of images where limits or time are tight."""
        if finished_result(self) is not None:
            return self.settings.image_size or SIDES[-1]
        return smallest_side(self._raced, self._sampled_facts.side)

    def _classes_and_channels(self) -> tuple[Sequence[str], int]:
        """Those of the pictures; a finished design has them, and may have lost its pictures."""
        if (result := finished_result(self)) is not None:
            return result.classes, result.channels
        return self._images.classes, self._images.kind.channels

    def load(self) -> Mapping[str, Any]:
        """The kind of device; checks the weights that are still needed, and libraries."""
        s = self.settings
        if not self.begun:
            self._check_libraries()
        check_stay(
            self, {"what it fine-tunes": weights_path(s.pretrained)} if s.pretrained else {}
        )
        start = {"device": resolve_device(s.device).type}
        if s.pretrained is None:
            return start
        journal = peeked(self)
        if "finalists" not in journal.results:
            self.results["pictures"] = journal.results.get("pictures") or self._sampled_facts
            self.plan.check_pretrained(s.data)
        return start

    def _check_libraries(self) -> None:
        """Check that what the stages after the search need is installed."""
        ProcessGroup(self.settings.device)
        if self.settings.int8:
            FORMATS["onnx"].check_libraries()
            check_quantiser()

    def other_files(self, folder: Path) -> Sequence[str]:
        """As the base has them, with the cards of copies, and those of stages.

        Stages would go on with other settings; result and journal go before what they tell of.
        """
        others = [*super().other_files(folder), *_stage_files(), *files_beside_copies()]
        return [RESULT, self.files.state, *others]

    def free_settings(self, store: DesignJournal) -> Sequence[str]:
        """As the base has them; limits may be other ones until a network is chosen.

        Generated pictures are what their name says, wherever they are.
        """
        names = (store.settings or self.settings).data, self.settings.data
        moved = () if any(map(is_generated, names)) else self.may_change
        return moved if "finalists" in store.results else (*moved, *_FREE_UNTIL_CHOICE)

    def check_store(self, store: DesignJournal) -> None:
        """Check that pictures in another folder are the same."""
        names = (store.settings or self.settings).data, self.settings.data
        then, now_named = map(split_reading, names)
        if then[1] != now_named[1]:
            raise ValueError(
                f"run folder {self.folder} was started with pictures read otherwise "
                f"({names[0]}, now {names[1]}); {ELSEWHERE}"
            )
        before, now = (expanded(folder).resolve() for folder, _ in (then, now_named))
        if "pictures" in store.results and before != now:
            self.picture_list.check_moved(store.results.pictures.digest)

    def plan_facts(self) -> Mapping[str, Any]:
        """Pictures and classes, which stages are done, and about how long all takes.

        Raises:
            ValueError: If the hours are too few, or the pictures of a class; or if the run was
                started with other settings.
        """
        images, journal = self._images, peeked(self)
        check_settings(self, journal)
        self.results.update(journal.results)
        if "pictures" not in journal.results:  # of which the check of weights has a sample
            check_enough(images)
        done = [name for name in self.stages if name in journal.results]
        left = [name for name in self.stages if name not in done]
        self.results.setdefault("pictures", self._sampled_facts)
        times = self.plan.seconds(self.settings.data) if left else {}
        seconds = {name: took for name, took in times.items() if name not in done}
        facts = {"pictures": len(images), "classes": images.classes, "done": done, "next": left}
        return {**facts, "seconds": seconds}

    def execute(self, store: DesignJournal, tell: Tell) -> DesignResult:
        """Go through the stages; those in the journal are not run again."""
        self._journal, resumed = store, len(store.records)
        self.results.clear()
        for place, (name, work) in enumerate(self.stages.items(), 1):
            if name not in store.results:
                self._check_pictures(name)
                # Time of a session that was killed in the stage is known to its runs alone.
                began = store.elapsed
                store.add_time(self._seconds_before(name))
                self._tell = self._tell_of(name, self.progress)
                start = Progress("stage", place - 1, len(self.stages), resumed=resumed)
                if name in self._with_work():
                    self._tell_of(name, tell)(start)
                result = work()
                took = getattr(result, "run_seconds", 0.0)
                store.add_time(max(0.0, took - (store.elapsed - began)))
                store.add_result(name, result)
            self.results[name] = store.results[name]
        images = {"source": self.settings.data, "digest": self.results.pictures.digest}
        provenance = {"images": images, "device": store.device}
        return self.result(store, provenance, **outcome(self.plan.last_round, self.folder))

    def settled(self, store: DesignJournal, result: DesignResult) -> bool:
        """Whether it is a result of these settings; pictures elsewhere are checked to conclude."""
        return result.settings == replace(self.settings, data=result.settings.data)

    def conclude(self, store: DesignJournal, result: DesignResult) -> DesignResult:
        """Check pictures in another folder."""
        self.check_store(store)
        return result

    def _seconds_before(self, stage: str) -> float:
        """What earlier sessions of the trainings of a stage took, up to their checkpoints."""
        folders = fractals.folder_of(stage), stage
        return sum(seconds_in(self.folder / folder / CHECKPOINT) for folder in folders)

    def _check_pictures(self, stage: str) -> None:
        """Check the pictures that a stage and those after it need."""
        if "pictures" in self.results and "test" not in self.results:
            self.picture_list.check(self.results.pictures.digest, training=stage != "test")

    def _with_work(self) -> list[str]:
        """The stages that have something to do, as far as is known."""
        results, idle = self.results, set[str]()
        if "plan" in results and not results.plan.trainings:
            idle = {"search", *self.plan.last_round.stages[1:]}
        if "finalists" in results:
            idle |= {*self.plan.last_round.stages} - {*self.plan.last_round.entrants}
        if "epochs" in results:
            idle -= {*results.epochs.fractals}
        return [name for name in self.stages if name not in idle]

    def _tell_of(self, name: str, tell: Tell) -> Tell:
        """``tell`` for what a stage does; the stage is added to its progress."""
        s, journal, stages = self.settings, self._journal, self._with_work()
        place, total = (stages.index(name) + 1 if name in stages else 0), len(stages)
        planned = dict[str, float]()
        for plan in ("epochs", "choice"):
            if plan in self.results:
                planned |= self.results[plan].seconds
        if s.hours is not None:
            planned["search"] = self.plan.hours.of("search")

        def with_stage(progress: Progress) -> None:
            left = math.nan if s.hours is None else 3600 * s.hours - journal.elapsed
            seconds = journal.elapsed - journal.seconds
            stage = StageUnderWay(
                name, place, total, seconds, planned=planned.get(name, math.nan), left=left
            )
            tell(replace(progress, stage=stage))

        return with_stage

    def _stage_options(self, name: str) -> dict[str, Any]:
        """Folder and progress of a stage's own run."""
        folder = self.folder / name
        return {
            "out": folder,
            "progress": self._tell,
        }

    # The stages, but for those of the plan.

    def _list_pictures(self) -> PictureFacts:
        """Read the pictures, and divide them; generated ones are written first."""
        if is_generated(self.settings.data):
            places, folder = range(len(self._images)), self._generated
            images = open_pictures(split_reading(self.settings.data)[0])
            write_pictures(images, places, folder, image_progress(self._tell))
        return self.picture_list.make(self._tell)

    def _search(self) -> SearchOutcome:
        """Search by short trainings: their ranking, and the accuracy that they predict."""
        if not self.results.plan.trainings:
            return default_outcome(load_space(self._raced.space))
        options = SearchOptions(out=self.folder / "search", workers=self.workers)
        run = RunFolder[Any, Any](SEARCH, self.plan.search_settings, options, self._tell)
        return search_outcome(run.run())

    def _last_round(self, name: str) -> TrainingOutcome | None:
        """Train a finalist; nothing where there are fewer, or where it drops out.

        The only one is trained on fractals at most.
        """
        last_round, before = self.plan.last_round, self.results.epochs.fractals
        if name not in last_round.entrants:
            if name not in before:
                return None
            return train(self.plan.trainings.on_fractals(name, *before[name], self._fractal_hours))
        network, alone = last_round.network(name), len(last_round.entrants) == 1
        hours = self.plan.hours
        if name in FINALISTS[1:] and hours.left < _LATE * hours.whole:
            logger.warning("the design is late: it goes on without %s", network.architecture)
            return None
        return unless_it_fails(network, partial(self._finalist, name), alone=alone)

    @property
    def _fractal_hours(self) -> float | None:
        """What is left for a training on fractals."""
        if self.settings.hours is None:
            return None
        return self.plan.hours.left_for("fractals") / len(self.results.epochs.fractals) / 3600

    def _finalist(self, name: str) -> TrainingOutcome:
        """Train a finalist, on fractals first where it begins with them."""
        lengths, trainings = self.results.epochs, self.plan.trainings
        warm = name in lengths.fractals
        before = list[Any]()
        if warm:
            drawn = lengths.fractals[name]
            before = [trainings.on_fractals(name, *drawn, self._fractal_hours).run()]
        training = trainings.finalist(
            name,
            lengths.epochs[name],
            hours=lengths.hours,
            warm=warm,
        )
        trained = train(training)
        return replace(
            trained,
            before=[result.provenance["command"] for result in before],
            run_seconds=sum((result.wall_seconds for result in before), trained.run_seconds),
        )

    def _test(self) -> FinalTest:
        """Test the finalists and the network on the pictures set aside."""
        last_round = self.plan.last_round
        test = DesignTest(
            self.folder,
            self.picture_list,
            self.results.pictures,
            last_round.entrants,
            self.settings.device,
            last_round.balance != "none",
        )
        return test.run(self.results.choice)

    def _measure_latency(self) -> Mapping[str, Latency]:
        """Latencies of the winner and its rival, each measured again, in a process of its own."""
        forget(self.settings.latency_command)
        last_round, choice = self.plan.last_round, self.results.choice
        latencies = {
            name: self.plan.latency(last_round.network(name).architecture, last_round.side)
            for name in dict.fromkeys((choice.winner, choice.by_hand or choice.winner))
        }
        for doubt in latencies[choice.winner].doubts(self.settings.max_latency or math.inf):
            logger.warning(doubt)
        return latencies

    def _export(self) -> Exports:
        """Copy the network in other formats."""
        return export_copies(self.folder, self.plan.last_round)


def _stage_files() -> Sequence[str]:
    """The files of the runs of all stages, relative to the run folder."""
    warm = map(fractals.folder_of, FINALISTS)
    trained = (*FINALISTS, *warm, *PRETRAINED, "training")
    files = {"search": SEARCH.files, **dict.fromkeys(trained, TRAIN.files)}
    return [f"{stage}/{name}" for stage, own in files.items() for name in own.names]
