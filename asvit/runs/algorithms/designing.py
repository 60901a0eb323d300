"""A design, stage by stage, each of which is in the journal once it is done."""

from __future__ import annotations

import logging
import math
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from asvit.core.answers import Answer, write_answers
from asvit.core.console import clock
from asvit.core.files import expanded, split_reading, with_reading
from asvit.core.latency_settings import OF_LATENCY
from asvit.core.progress import Progress, StageUnderWay, Tell, ignore, image_progress
from asvit.core.run_files import (
    ANSWERS,
    GRAPH,
    MODEL,
    PICTURES,
    PREDICTIONS,
    SMALL_GRAPH,
)
from asvit.core.settings import ELSEWHERE, WrongOption
from asvit.data.base import LabelledImages
from asvit.data.files import TEST, ListedDataset, read_as, write_pictures
from asvit.data.preparation import shown_channels
from asvit.designs.fitting import SIDES
from asvit.designs.journal import DesignJournal
from asvit.designs.pictures import (
    LEAST_TESTED,
    PictureList,
    check_enough,
    in_words,
    is_generated,
    open_pictures,
    sampled_facts,
)
from asvit.designs.result import (
    DesignResult,
    Model,
    Racer,
    balance_in_words,
    predict_command,
)
from asvit.designs.sizes import Sizes, limits_of
from asvit.designs.stages import (
    Entrant,
    Exports,
    PictureFacts,
    SearchOutcome,
    Share,
    StageResults,
    Tested,
    Trained,
)
from asvit.export.formats import FOLDER_FILES, FORMATS
from asvit.reference.intervals import (
    Estimate,
    balanced_accuracy,
    paired_difference,
    proportion,
)
from asvit.runs.algorithms.design_plan import (
    AFTERWARDS,
    PICTURE_CHANNELS,
    SHARES,
    DesignPlan,
    stage_files,
)
from asvit.runs.algorithms.search import SearchAlgorithm, with_multiple
from asvit.runs.algorithms.training import TrainAlgorithm
from asvit.runs.checks import check_stay, find_space
from asvit.runs.command_latency import forget
from asvit.runs.designing import DesignRun
from asvit.runs.exporting import export_network
from asvit.runs.folder import plain_name
from asvit.runs.lifecycle import finished_result, peeked
from asvit.runs.predicting import Guess, PicturePrediction, predict
from asvit.runs.tracking import check_trackers
from asvit.runs.training import few_pictures_note
from asvit.search.limits import Limits
from asvit.search.result import SearchResult
from asvit.search.settings import ACCURACY, LIMITS
from asvit.search.trained import networks_by_hand
from asvit.spaces import load_space
from asvit.training.balance import imbalance
from asvit.training.distillation import load_teacher
from asvit.training.metrics import MOST_PICTURES, predictions_of, seconds_of_an_epoch
from asvit.training.pretrained import weights_paths
from asvit.training.settings import TrainSettings
from proxies.evaluation import resolve_device
from proxies.latency import COMMAND, Latency, time_in_words
from proxies.messages import first_line

logger = logging.getLogger(__name__)

#: Settings that nothing depends on before a network is chosen, but for the search's own limit.
_FREE_UNTIL_CHOICE = (
    *(*LIMITS, "width_multiple", *OF_LATENCY),
    *("image_size", "hours", "pretrained", "warm_start", "teacher", "teacher_weights"),
)
_LAST_EPOCHS = 0.1  # share of the last epochs whose accuracies decide the last round
GENERATED = "pictures-{}"  # folder of generated pictures, by what they are
_COPIES: Sequence[tuple[str, str, Mapping[str, Any]]] = (  # format, name, and how
    ("timm", "timm", {}),
    ("onnx", GRAPH, {"with_preprocessing": True}),
    ("safetensors", MODEL, {}),
    ("onnx", SMALL_GRAPH, {"with_preprocessing": True, "int8": True}),
)


class _TestPicture(NamedTuple):
    """A picture set aside for the test."""

    name: str  # as the list has it
    path: Path
    label: str  # name of its class
    digest: str  # SHA-256 of its file


@dataclass(kw_only=True)
class DesignAlgorithm(DesignRun):
    """Executes a design."""

    results: StageResults = field(default_factory=StageResults, init=False)
    _pretrained_checked: bool = field(default=False, init=False)
    _tell: Tell = field(default_factory=lambda: ignore, init=False)  # of the stage under way
    _journal: DesignJournal = field(init=False, repr=False, compare=False)

    def resolved(self) -> Self:
        """With the final width multiple."""
        return with_multiple(self, None)

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
        return self.folder / GENERATED.format(plain_name(split_reading(self.settings.data)[0]))

    @cached_property
    def plan(self) -> DesignPlan:
        """Decides sizes and lengths."""
        return DesignPlan(
            self.settings,
            self.folder,
            self.results,
            elapsed=lambda: self._journal.elapsed,
            stage_options=self._stage_options,
            workers=self.workers,
        )

    @property
    def stages(self) -> Mapping[str, Callable[[], object]]:
        """The work of each stage, in order; the journal stores their results."""
        return {
            "pictures": self._list_pictures,
            "plan": self.plan.search,
            "search": self._search,
            "finalists": self.plan.finalists,
            "epochs": self.plan.epochs,
            **{name: partial(self._last_round, name) for name in self.plan.last_round},
            "choice": self.plan.choice,
            "training": lambda: _train(self.plan.training()),
            "test": self._test,
            "latency": self._measure_latency,
            "export": self._export,
        }

    # The run.

    @property
    def title(self) -> str:
        """What is asked for, the time of each stage, and whether there are few pictures."""
        s, more, facts = self.settings, list[str](), self._sampled_facts
        limits = limits_of(s).limits_in_words
        first = f"designing a network for {s.data}: {limits or 'within no limits'}"
        if s.hours is not None:
            shares = self.plan.shares(facts.train, facts.channels)
            times = (f"{name} {clock(share * s.hours * 3600)}" for name, share in shares.items())
            more = [f"plan: {', '.join(times)}"]
        uneven = imbalance(facts.sizes)
        if words := balance_in_words(s.balance_for(uneven), uneven):
            more.append(words)
        if s.teacher is None and s.pretrained is None and self._images.kind.picture:
            more += few_pictures_note(
                len(self._images), "--pretrained FILE, or hub for timm's, adds them to the race"
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
        check_trackers(self.track)
        if all(getattr(s, name) is None for name in LIMITS):
            raise WrongOption("a design needs a limit; give max_params, max_macs or max_latency")
        if s.hours is not None and 3600 * s.hours <= AFTERWARDS:
            raise WrongOption(
                f"hours={s.hours:g} are too few: tests and copies take {AFTERWARDS:g} s"
            )
        resolve_device(s.device)
        classes, channels = self._classes_and_channels()
        if s.warm_start == "fractals" and channels != PICTURE_CHANNELS:
            raise ValueError(
                f"warm_start=fractals are pictures of {PICTURE_CHANNELS} channels, and {s.data} "
                f"has {channels}; leave it out"
            )
        if len(classes) < 2:
            raise ValueError(f"{s.data} has pictures of one class; make a folder for each class")
        smallest = s.image_size or SIDES[-1]
        find_space(s.space, image_size=smallest)
        sizes = Sizes(s, len(classes), channels, self.plan.latency)
        sizes.limits(smallest).sample(np.random.default_rng(0))

    def _classes_and_channels(self) -> tuple[Sequence[str], int]:
        """Those of the pictures; a finished design has them, and may have lost its pictures."""
        if (result := finished_result(self)) is not None:
            return result.classes, result.channels
        return self._images.classes, self._images.kind.channels

    def load(self) -> Mapping[str, Any]:
        """The kind of device; checks the weights that are still needed."""
        s = self.settings
        needed = {"what it fine-tunes": s.pretrained, "the teacher": s.teacher_weights}
        check_stay(self, weights_paths(needed))
        start = {"device": resolve_device(s.device).type}
        if s.teacher is None and s.pretrained is None:
            return start
        journal = peeked(self)
        if s.pretrained is not None and "finalists" not in journal.results:
            self._check_pretrained(journal)
        if s.teacher is not None and "training" not in journal.results:
            self._check_teacher()
        return start

    def _check_teacher(self) -> None:
        """Check that the teacher takes these pictures at the sizes that the design may have."""
        s, images = self.settings, self._images
        teacher: dict[str, Any] = {"teacher": s.teacher, "teacher_weights": s.teacher_weights}
        for side in (s.image_size,) if s.image_size else (SIDES[0], SIDES[-1]):
            how = TrainSettings.make(architecture=s.teacher, image_size=side, **teacher)
            load_teacher(how, images.classes, images.kind)

    def _check_pretrained(self, journal: DesignJournal) -> None:
        """Check once, as it may time networks, that pretrained ones race and have weights."""
        if self._pretrained_checked:
            return
        self.results["pictures"] = journal.results.get("pictures") or self._sampled_facts
        self.plan.check_pretrained(self.settings.data)
        self._pretrained_checked = True

    def other_files(self, folder: Path) -> Sequence[str]:
        """As the base has them, with the cards of copies, and those of stages.

        Stages would go on with other settings.
        """
        return [*super().other_files(folder), *stage_files(), *_beside_copies()]

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
            ValueError: If the hours are too few, or the pictures of a class.
        """
        images, journal = self._images, peeked(self)
        self.results.update(journal.results)
        if "pictures" not in self.results:
            check_enough(images)
        done = [name for name in self.stages if name in self.results]
        left, times = [name for name in self.stages if name not in done], dict[str, float]()
        self.results.setdefault("pictures", self._sampled_facts)
        if left:
            times |= self.plan.seconds(self.settings.data)
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
                self._tell = self._tell_of(name, place, self.progress)
                start = Progress("stage", place - 1, len(self.stages), resumed=resumed)
                self._tell_of(name, place, tell)(start)
                began = store.elapsed
                result = work()
                # Time of a session that was killed in the stage is known to its runs alone.
                took = getattr(result, "run_seconds", 0.0)
                store.add_time(max(0.0, took - (store.elapsed - began)))
                store.add_result(name, result)
            self.results[name] = store.results[name]
        return self._design_result(store)

    def conclude(self, store: DesignJournal, result: DesignResult) -> DesignResult:
        """Check pictures in another folder, and write their list where it is not there."""
        self.check_store(store)
        self.picture_list.restore(store.results.pictures.digest)
        return result

    def _check_pictures(self, stage: str) -> None:
        """Check the pictures that a stage and those after it need."""
        if "pictures" in self.results and "test" not in self.results:
            self.picture_list.check(self.results.pictures.digest, training=stage != "test")

    def _tell_of(self, name: str, place: int, tell: Tell) -> Tell:
        """``tell`` for what a stage does; the stage is added to its progress."""
        s, journal, total = self.settings, self._journal, len(self.stages)
        planned = dict[str, float]()
        for plan in ("epochs", "choice"):
            if plan in self.results:
                planned |= self.results[plan].seconds
        if s.hours is not None:
            planned["search"] = 3600 * s.hours * SHARES["search"]

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
        return {
            "out": self.folder / name,
            "progress": self._tell,
            "track": self.track,
            # With the folder; the list has digests of the pictures.
            "may_move": ("data", "weights"),
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
        settings, options = self.plan.search_settings, self._stage_options("search")
        result = SearchAlgorithm(settings=settings, workers=self.workers, **options).run()
        expected = ""
        if result.confirmed is not None:
            expected = f"{result.confirmed.estimate} % [90 %] in fresh short trainings"
        check = result.predictor
        trust = "" if check is None else check.in_words
        ranked = check is not None and check.tau_interval.low > 0  # NaN where it says nothing
        if not ranked:
            logger.warning(
                "its check does not show that the search ranks (%s); the last round has two "
                "networks, and the time of a third goes to the training",
                trust or "there is none",
            )
        return SearchOutcome(
            ranking=_ranking(result),
            ranked=ranked,
            variance=result.variance,
            prediction="; ".join(filter(None, (expected, trust))),
            command=result.provenance["command"],
            run_seconds=result.wall_seconds,
        )

    def _last_round(self, name: str) -> Trained | None:
        """Train a finalist; nothing where there are fewer."""
        if name not in self.plan.entrants:
            return None
        lengths = self.results.epochs
        warm = name in lengths.fractals
        before = [self.plan.fractals(name, *lengths.fractals[name]).run()] if warm else []
        training = self.plan.finalist(
            name,
            lengths.epochs[name],
            hours=lengths.hours,
            pictures=lengths.pictures.get(name),
            warm=warm,
        )
        trained = _train(training)
        return replace(
            trained,
            before=[result.provenance["command"] for result in before],
            run_seconds=sum((result.wall_seconds for result in before), trained.run_seconds),
        )

    def _test(self) -> Tested:
        """The networks on the pictures set aside, but for those that have changed."""
        files, guesses, left_out = self._classify()
        self._write_predictions(files, guesses["training"])
        right = {
            name: [guess.label == file.label for guess, file in zip(own, files, strict=True)]
            for name, own in guesses.items()
        }
        result = Tested(
            pictures=len(files),
            left_out=left_out,
            accuracies={
                name: _per_cent(proportion(sum(own), len(own))) for name, own in right.items()
            },
            balanced={name: _balanced_accuracy(own, files) for name, own in right.items()},
        )
        choice = self.results.choice
        if choice.by_hand in (None, choice.winner):
            return result
        apart = paired_difference(right[choice.winner], right[choice.by_hand])
        return replace(result, difference=_per_cent(apart), difference_p=apart.p)

    def _classify(
        self,
    ) -> tuple[list[_TestPicture], Mapping[str, list[Guess]], Mapping[str, str]]:
        """Test pictures, the guesses of each network, and why other pictures are left out."""
        pictures = self._test_pictures
        left_out = dict(self.picture_list.changed(TEST))
        files = [
            _TestPicture(name, pictures.path(at), pictures.classes[label], pictures.digest(at))
            for at, label in enumerate(pictures.labels)
            if (name := pictures.name(at)) not in left_out
        ]
        paths, device = [file.path for file in files], self.settings.device
        predictions = dict[str, Sequence[PicturePrediction]]()
        for name in ("training", *self.plan.entrants) if files else ():
            predictions[name] = predict(self.folder / name, paths, top=1, device=device)
            for file, prediction in zip(files, predictions[name], strict=True):
                if not prediction.guesses:
                    reason = prediction.reason.replace(f"{pictures.root}{os.sep}", "")
                    left_out[file.name] = reason
        places = [place for place, file in enumerate(files) if file.name not in left_out]
        if len(places) < LEAST_TESTED:
            raise ValueError(
                f"{len(left_out)} of {len(pictures)} pictures to test on are not what the design "
                f"in {self.folder} began with: {in_words(left_out)}; put them back, {ELSEWHERE}"
            )
        guesses = {
            name: [own[place].guesses[0] for place in places] for name, own in predictions.items()
        }
        return [files[place] for place in places], guesses, left_out

    @property
    def _test_pictures(self) -> ListedDataset:
        """The pictures set aside for the test."""
        reading = split_reading(self.settings.data)[1]
        return ListedDataset(self.folder / PICTURES, TEST, reading=reading)

    def _write_predictions(self, files: Sequence[_TestPicture], guesses: Sequence[Guess]) -> None:
        """Write the answers about the test pictures, with some of the pictures."""
        answers = [
            Answer(file.name, file.label, guess.label, guess.probability, digest=file.digest)
            for file, guess in zip(files, guesses, strict=True)
        ]
        write_answers(self.folder / ANSWERS, answers)
        kind = self._test_pictures.kind
        predictions_of(
            self.results.pictures.classes,
            answers,
            lambda at: read_as(files[at].path, kind),
            right=MOST_PICTURES // 2,
            shown=shown_channels(kind),
        ).write(self.folder / PREDICTIONS)

    def _measure_latency(self) -> Mapping[str, Latency]:
        """Latencies of the winner and its rival, each measured again, in a process of its own."""
        forget(self.settings.latency_command)
        side, choice = self.results.finalists.side, self.results.choice
        return {
            name: self.plan.latency(self.plan.network(name).architecture, side)
            for name in dict.fromkeys((choice.winner, choice.by_hand or choice.winner))
        }

    def _export(self) -> Exports:
        """Copies of the network, but for those that cannot be made or differ from it."""
        copies, commands, int8 = list[str](), list[str](), ""
        facts = {"designed": self._card_facts()}
        for form, name, how in _COPIES:
            if name == SMALL_GRAPH and not self.settings.int8:
                continue
            FORMATS[form].check_out(self.folder / name, card=True, force=True)  # can be mended
            try:
                FORMATS[form].check_libraries()
                exported = export_network(
                    weights=str(self.folder / "training"),
                    to=form,
                    out=str(self.folder / name),
                    force=True,
                    facts=facts,
                    **how,
                )
            except (ImportError, ValueError) as error:
                if name == SMALL_GRAPH:  # which the result tells of
                    int8 = f"left out: {first_line(error)}"
                else:
                    logger.warning("there is no %s: %s", name, first_line(error))
                continue
            if name == SMALL_GRAPH and exported.quantisation is not None:
                int8 = exported.quantisation.in_words
            copies.append(name)
            commands.append(exported.command)
        return Exports(copies=copies, commands=commands, int8=int8)

    def _card_facts(self) -> Mapping[str, str]:
        """What the card of a copy says of the design."""
        tested, choice = self.results.test, self.results.choice
        timed = self.results.latency[choice.winner]

        def share(name: str) -> str:
            mean, low, high = tested.accuracies[name]
            return f"{mean:.1f} % [{low:.1f}, {high:.1f}]"

        by_hand = "none is within the same limits"
        if choice.by_hand == choice.winner:
            by_hand = "it is of a published shape, as wide as the limits and the time allow"
        elif choice.by_hand is not None:
            by_hand = (
                f"{share(choice.by_hand)}: the best network made by hand in the last round, "
                f"where this one reached {share(choice.winner)}"
            )
        where = f"by {timed.runtime} on {timed.device}, {timed.threads} thread(s)"
        if timed.runtime == COMMAND:
            where = "on a device of the user's"  # cards do not tell its command
        source = self.plan.network(choice.winner).pretrained
        return {
            "limits": limits_of(self.settings).limits_in_words,
            **({"pretrained": f"fine-tuned from {Path(source).name}"} if source else {}),
            "accuracy": f"{share('training')} of {tested.pictures} pictures that were kept aside",
            "by_hand": by_hand,
            "latency": f"{time_in_words(timed.milliseconds)} for {timed.batch} image(s) {where}",
        }

    # The result.

    def _design_result(self, journal: DesignJournal) -> DesignResult:
        results, plan = self.results, self.plan
        pictures, search, choice = results.pictures, results.search, results.choice
        test, rival = results.test, choice.by_hand
        timed = results.latency[choice.winner]
        images = {"source": self.settings.data, "digest": pictures.digest}
        predicting = predict_command(self.folder)
        trainings = [results.trained(name) for name in (*plan.entrants, "training")]
        return self.result(
            journal,
            {"images": images, "device": journal.device},
            **vars(self._model(choice.winner, "training")),
            hand_made=None if rival is None else self._model(rival, rival),
            difference=test.difference and test.difference.value,
            difference_interval=test.difference and test.difference.interval,
            difference_p=test.difference_p,
            race=[
                *(Racer(round="search", **vars(entrant)) for entrant in search.ranking),
                *map(self._finalist, plan.entrants),
            ],
            ranked=search.ranked,
            variance=search.variance,
            prediction=search.prediction,
            image_size=results.finalists.side,
            channels=pictures.channels,
            pixels=pictures.pixels,
            fractals=results.epochs.fractals.get(choice.winner, (0, 0))[1],
            balance=plan.balance,
            imbalance=plan.imbalance,
            epochs=results.training.epochs or choice.epochs,
            classes=pictures.classes,
            train_pictures=pictures.train,
            test_pictures=test.pictures,
            unreadable=pictures.unreadable,
            equal=pictures.equal,
            left_out=test.left_out,
            measured_on=(
                f"the device of {timed.device}"
                if timed.runtime == COMMAND
                else f"{timed.device}, {timed.threads} thread(s), {timed.runtime}"
            ),
            int8=results.export.int8,
            exports=results.export.copies,
            commands=[
                search.command,
                *(one for trained in trainings for one in (*trained.before, trained.command)),
                *results.export.commands,
                predicting,
            ],
            next_command=predicting,
        )

    def _model(self, name: str, tested: str) -> Model:
        """The network of a finalist, with the accuracy of one of its trainings."""
        network, trained = self.plan.network(name), self.results.trained(name)
        accuracy = self.results.test.accuracies[tested]
        balanced = self.results.test.balanced.get(tested, Share(*[math.nan] * 3))
        return Model(
            family=network.family,
            architecture=network.architecture,
            params=trained.params,
            macs=trained.macs,
            latency_ms=self.results.latency[name].milliseconds,
            pretrained=network.pretrained,
            accuracy=accuracy.value,
            accuracy_interval=accuracy.interval,
            balanced_accuracy=balanced.value,
            balanced_accuracy_interval=balanced.interval,
        )

    def _finalist(self, name: str) -> Racer:
        """A network of the last round."""
        choice, accuracy = self.results.choice, self.results.test.accuracies[name]
        network = replace(self.plan.network(name), validation=choice.accuracies[name])
        return Racer(
            round="last",
            **vars(network),
            accuracy=accuracy.value,
            accuracy_interval=accuracy.interval,
            epochs=self.plan.epochs_of(name),
            chosen=name == choice.winner,
        )


def _beside_copies() -> Iterator[str]:
    """The files of the copy for timm, and the cards of the others."""
    for form, name, _ in _COPIES:
        if FORMATS[form].suffix:
            yield from (f"{Path(name).stem}.md", f"{name}.md")
        else:
            yield from (f"{name}/{file}" for file in FOLDER_FILES)


def _train(run: TrainAlgorithm) -> Trained:
    """Train a network: sizes, command, accuracy over the last epochs, seconds of an epoch."""
    result = run.run()
    last = result.history[-max(1, round(_LAST_EPOCHS * len(result.history))) :]
    return Trained(
        params=result.params,
        macs=result.macs,
        command=result.provenance["command"],
        epochs=len(result.history),
        validation=statistics.fmean(row.score for row in last),
        epoch_seconds=seconds_of_an_epoch(result.history),
        run_seconds=result.wall_seconds,
    )


def _per_cent(estimate: Estimate) -> Share:
    """A share and the ends of its interval."""
    low, high = estimate.interval
    return Share(100 * estimate.value, 100 * low, 100 * high)


def _balanced_accuracy(right: Sequence[bool], files: Sequence[_TestPicture]) -> Share:
    """The balanced accuracy of answers, from whether each of them is right."""
    by_class: dict[str, list[bool]] = {}
    for is_right, file in zip(right, files, strict=True):
        by_class.setdefault(file.label, []).append(is_right)
    return _per_cent(balanced_accuracy([*by_class.values()]))


def _ranking(result: SearchResult) -> list[Entrant]:
    """The networks of a search, best first: those that it compared in the end, then the others."""
    space, settings = load_space(result.settings.space), result.settings
    limits = Limits(space, settings)
    by_hand = networks_by_hand(space, limits)
    values: dict[str, list[float]] = {}
    for row in result.trials:
        values.setdefault(row.architecture, []).append(row.values[ACCURACY])
    means = {text: statistics.fmean(of) for text, of in values.items()}
    first = [row.architecture for row in result.seed_first]
    others = [text for text in means if text not in first and math.isfinite(means[text])]
    others.sort(key=lambda text: -means[text])
    return [
        Entrant(
            family=space.family_of(text),
            architecture=text,
            by_hand=text in by_hand,
            validation=means[text],
        )
        for text in (*first, *others)
    ]
