"""The plan of a design: what the search trains, how large networks are, how long they train.

Without hours, as much as pays. With them, the search and the last round have their shares,
networks that would be trained too briefly are made smaller, and the training has what is left.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from asvit.core.console import clock
from asvit.core.files import split_reading, with_reading
from asvit.core.run_files import PICTURES, PRETRAINED_WEIGHTS
from asvit.core.settings import fields_of
from asvit.designs.fitting import (
    NARROWED,
    OFTEN,
    PER_PIXEL,
    SIDES,
    Fitting,
    enough_epochs,
    per_pixel,
)
from asvit.designs.pretrained import HUB, Pretrained, candidates, check_weights, largest
from asvit.designs.settings import FRACTALS_BELOW, DesignSettings
from asvit.designs.sizes import Sizes
from asvit.designs.stages import (
    FINALISTS,
    PRETRAINED,
    Choice,
    Entrant,
    Finalists,
    Lengths,
    SearchPlan,
    StageResults,
)
from asvit.executors import Workers
from asvit.runs.algorithms.training import TrainAlgorithm, small_batch
from asvit.runs.estimate import paces, training_seconds
from asvit.runs.search import SearchRun
from asvit.runs.timing import fresh_latency, latency
from asvit.runs.training import TrainRun
from asvit.runs.training_pool import with_images
from asvit.search.settings import TrainingSearchSettings
from asvit.spaces import UnionSpace, load_space
from asvit.spaces.base import Architecture
from asvit.spaces.families import PREFIX
from asvit.training.balance import imbalance
from asvit.training.recipes import RECIPES
from proxies.latency import Latency
from proxies.messages import first_line

logger = logging.getLogger(__name__)

#: Of the hours. A warm start takes its share from that of the training. With more time for
#: search and last round, none of ten designs of 15 minutes ended in another network than expected.
SHARES = {"search": 0.05, "last round": 0.08, "training": 0.83, "rest": 0.04}
_WARM_SHARE = 0.15
_TRAINING_SHARE = SHARES["last round"] + SHARES["training"]
AFTERWARDS = 30.0  # seconds that tests, copies and latencies take at least
#: Of the pictures to train on, by which the last round is decided; unless they have a part for it.
VALIDATION_SHARE = 0.2

#: Updates of a training in the last round that tell how a network will end. After 200, a DeiT was
#: 7 points ahead of a ShiftViT on the scattered digits, and 5 behind after 4,000.
_CONCLUSIVE = 1_000

_EXAMPLES = 5  # networks whose median stands for those of a space
_FEWEST_TRAININGS = 5  # of a search where time is short, and of as many families
_ENOUGH_STEPS = 100  # of each of them at least, before images are made smaller
_RACE_STEPS = 150  # steps of a training where time is short, or fewer families race
_FEWEST_STEPS = 30  # steps of a training at all
_BATCH_SIZES = (32, 64)  # images where there are enough pictures
_LEARNING_RATE = 2e-3  # of batches of these sizes
#: Families that learn faster from weights of fractals: see docs/evidence_searches.md.
_WARM_FAMILIES = ("resnet", "resnet-parts")
_FRACTALS = "fractal:100"
PICTURE_CHANNELS = 3
_FRACTAL_PICTURES, _FRACTAL_EPOCHS = (1_000, 8_000), (3, 20)  # least and most
_TUNING_SHARE = 0.25  # of that learning rate, for weights that timm publishes
_TEST_COST = 0.5  # of the time of an image to train on takes one to test on
_FEWEST_EPOCHS = 2  # epochs of a training
_TUNING_EPOCHS = 5  # epochs of a pretrained network that are worth it


@dataclass
class DesignPlan:
    """Decides sizes and lengths, from the results of the stages before."""

    settings: DesignSettings
    folder: Path
    results: StageResults  # of the finished stages, which become more
    elapsed: Callable[[], float]  # seconds of the whole design so far
    stage_options: Callable[[str], Mapping[str, Any]]  # folder and progress of a stage's run
    workers: Workers | None = None  # of the search
    _fittings: dict[tuple[int, int], Fitting] = field(default_factory=dict, init=False)

    def search(self) -> SearchPlan:
        """How much the search trains, and at which image size, in its share of the time."""
        self.sizes.check_speed(self._sample, self.settings.image_size or SIDES[-1])
        fitting = self.fitting
        sides = fitting.sides_in_time(self._sample[0])
        if sides[0] < fitting.whole_side:
            logger.warning(
                "images are seen at %d px: for larger ones, limits or time allow too few "
                "multiply-adds a pixel (%s, or %s for %d epochs); image_size=%d keeps them",
                sides[0],
                f"{PER_PIXEL:,}",
                per_pixel(OFTEN),
                OFTEN,
                fitting.whole_side,
            )
        settings = self._search(sides[0], self._listed)
        if self.settings.hours is not None:
            allowed = SHARES["search"] * self.settings.hours * 3600
            whole = self.seconds(self._listed)["search"]
            for side in sides:
                full = self._search(side, self._listed)
                took = whole if side == fitting.side else self._search_seconds(full)
                settings = self._shortened(full, took, allowed)
                if settings.training_steps >= _ENOUGH_STEPS:
                    break
        return SearchPlan(**{name: getattr(settings, name) for name in fields_of(SearchPlan)})

    def finalists(self) -> Finalists:
        """The networks of the last round and the image size, as limits and time allow.

        The best of the search, the one made by hand of the first family, and the best of another;
        two of them where the search ranks nothing, or has had no time for all families.
        """
        search, space = self.results.search, load_space(self.settings.space)
        errors, networks = list[ValueError](), dict[str, Entrant]()
        side = self.fitting.side
        whole = self.results.plan.space == self.settings.space
        wanted = len(FINALISTS) if search.ranked and whole else 2
        for entry in _candidates(search.ranking, self._first_family):
            try:
                arch = space.parse(entry.architecture)
                text, side, narrowed = self.fitting.fit(arch, side if networks else None)
            except ValueError as error:  # too large or slow at any width
                errors.append(error)
                continue
            networks.setdefault(text, replace(entry, architecture=text, narrowed=narrowed))
            if len(networks) == wanted:
                break
        if not networks:
            raise ValueError(f"{errors[0]}; the same command with another limit goes on from here")
        tuned = self._store_pretrained(side)
        return Finalists(side=side, networks=[*networks.values()], pretrained=tuned)

    def pretrained(self, side: int, data: str | None = None) -> Sequence[Pretrained]:
        """The pretrained networks of the last round; empty without the setting.

        They are chosen by their sizes for images of the whole side, and, where time is limited,
        by the time that they take for images of ``side``.

        Raises:
            ValueError: If none is within the limits.
            FileNotFoundError: If there is no such file.
        """
        s = self.settings
        if s.pretrained is None:
            return ()
        trained = candidates(s.pretrained, s.space)

        def check_time(network: Pretrained) -> None:
            """Check that the last round has time for a few epochs."""
            if s.hours is None:
                return
            epoch, _ = self._pace(network.architecture, side, folder=PRETRAINED[0], data=data)
            time = SHARES["last round"] * 3600 * s.hours / len(self.last_round)
            took = _TUNING_EPOCHS * epoch
            if time < took:
                raise ValueError(
                    f"{network.architecture}: {_TUNING_EPOCHS} epochs take {clock(took)} at "
                    f"{side} px, more than the {clock(time)} it has of the hours"
                )

        return largest(trained, self.sizes, self.fitting.side, check_time)

    def check_pretrained(self, data: str) -> None:
        """Check before a design starts that pretrained networks race, and have weights.

        Raises:
            ValueError: If none is within the limits, or a network does not take images of the
                sizes that the design may have.
            FileNotFoundError: If weights are missing.
        """
        fitting = self.fitting
        sides = [fitting.side] if self.settings.hours is None else fitting.sides
        for network in self.pretrained(sides[-1], data):
            check_weights(network, sides, self._classes, self._channels)

    def _store_pretrained(self, side: int) -> Sequence[Entrant]:
        """Write the weights of the pretrained networks that race into the run folder.

        It is no error if none is within the limits any more at the image size that time allows.
        """
        try:
            chosen = self.pretrained(side)
        except ValueError as error:
            logger.warning("no pretrained network is in the last round: %s", first_line(error))
            chosen = ()
        for name, network in zip(PRETRAINED, chosen, strict=False):
            network.file().write(self._weights(name))
        return [
            Entrant(
                family=network.family,
                architecture=network.architecture,
                by_hand=False,
                pretrained=network.source,
            )
            for network in chosen
        ]

    def epochs(self) -> Lengths:
        """How long the finalists are trained: as long as it pays, or equally long.

        Where the time does not allow the slowest the fewest epochs, all have fewer pictures.
        """
        plans = {name: self.finalist(name, 2).plan() for name in self.entrants}
        enough = enough_epochs(max(plan["steps_per_epoch"] for plan in plans.values()))
        seconds = {name: enough * float(plan["time"]["epoch"]) for name, plan in plans.items()}
        fewer, hours = dict[str, int](), None
        if self.settings.hours is not None:
            time = SHARES["last round"] / _TRAINING_SHARE * self._left / len(plans)
            shortest = _FEWEST_EPOCHS / enough * max(seconds.values())
            if time < shortest:
                fewer = dict.fromkeys(plans, self._fewer_pictures(time / shortest))
            seconds = {name: min(took, time) for name, took in seconds.items()}
            hours = time / 3600
        speeds = {
            name: float(plan["time"]["images_per_second"])
            for name, plan in plans.items()
            if self.warm(name)
        }
        fractals = self._on_fractals(speeds)
        for name, (pictures, count) in fractals.items():  # in the same stage
            seconds[name] += pictures * count / speeds[name]
        return Lengths(
            epochs=dict.fromkeys(plans, enough),
            hours=hours,
            pictures=fewer,
            fractals=fractals,
            seconds=seconds,
        )

    def _on_fractals(self, speeds: Mapping[str, float]) -> Mapping[str, tuple[int, int]]:
        """Pictures and epochs of the trainings on fractals; fewer pictures where time is short.

        ``speeds`` has the images a second of each network that begins with their weights.
        """
        (least, most), (fewest, whole) = _FRACTAL_EPOCHS, _FRACTAL_PICTURES
        if self.settings.hours is None:
            return dict.fromkeys(speeds, (whole, most))
        time = _WARM_SHARE / _TRAINING_SHARE * self._left / max(1, len(speeds))
        lengths = dict[str, tuple[int, int]]()
        for name, speed in speeds.items():
            epochs = max(least, min(most, int(time * speed / whole)))
            pictures = min(whole, int(time * speed / epochs))
            if pictures >= fewest:
                lengths[name] = pictures, epochs
            else:
                logger.warning(
                    "%s begins without weights of fractals: there is time for %d of these, and "
                    "fewer than %d are not worth it; more hours allow them",
                    *(name, pictures, fewest),
                )
        return lengths

    def choice(self) -> Choice:
        """Which finalist is trained on all pictures, and for how many epochs or hours at most."""
        scores = {name: self.results.trained(name).validation for name in self.entrants}
        winner = self._winner(scores)
        by_hand = [name for name in self.entrants if self.network(name).by_hand]
        rival = max(by_hand, key=lambda name: scores[name], default=None)
        whole = self.results.pictures.train
        validated = self._validation_share * whole / 3  # they took a third of the time of others
        per_image = {  # seconds of an image to train on
            name: self.results.trained(name).epoch_seconds / (self._pictures_of(name) + validated)
            for name in scores
        }
        epoch = per_image[winner] * whole
        epochs, hours = enough_epochs(self._steps), None
        seconds = epochs * epoch
        if self.settings.hours is not None:
            tests = self.results.pictures.test * (sum(per_image.values()) + per_image[winner])
            hours = max(_FEWEST_EPOCHS * epoch, self._left - _TEST_COST * tests) / 3600
            seconds = min(seconds, 3600 * hours)
        return Choice(
            winner=winner,
            by_hand=rival,
            accuracies=scores,
            epochs=epochs,
            hours=hours,
            seconds={"training": seconds},
        )

    def _winner(self, scores: Mapping[str, float]) -> str:
        """The finalist of the highest accuracy, unless chance may have decided.

        One that is not expected to win has to be better by two standard errors, and far enough
        to tell how it will end: with few pictures chance would choose, and what learns fastest is
        not always best in the end.
        """
        expected = [name for name in scores if self._is_expected(self.network(name))]
        leader = max(expected or scores, key=lambda name: scores[name])
        # The first is the one that the search expects most of, should they be equal.
        best = max(scores, key=lambda name: scores[name])
        by_chance = 2 * _error(scores[best], scores[leader], self._validation_pictures)
        if scores[best] - scores[leader] <= by_chance or not self._is_conclusive(best):
            return leader
        return best

    def seconds(self, data: str) -> Mapping[str, float]:
        """About how many seconds the parts take on these pictures, with nothing cut short.

        Raises:
            ValueError: If the least that can be done takes longer than the hours.
        """
        side = self.fitting.side
        settings = self._search(side, data)
        search = self._search_seconds(settings)
        limits = self.sizes.limits(side, macs=settings.max_macs)
        networks = map(limits.network, self._sample[:_EXAMPLES])
        by_macs = sorted(networks, key=lambda arch: self.sizes.macs(arch, side))
        epoch, steps = self._pace(str(by_macs[len(by_macs) // 2]), side, data=data)
        self._check_hours(settings, search, epoch)
        training = epoch * enough_epochs(steps)
        rounds = dict.fromkeys(self.last_round, training)
        pictures = self.results.pictures.train
        if self._warms(self._first_family, pictures, self._channels):
            fractals = _FRACTAL_PICTURES[1] * _FRACTAL_EPOCHS[1] / pictures * epoch
            rounds[FINALISTS[0]] += fractals
        return {"search": search, **rounds, "training": training, "rest": AFTERWARDS}

    def _check_hours(self, search: TrainingSearchSettings, seconds: float, epoch: float) -> None:
        """Check that the hours allow the shortest search and trainings.

        The whole search takes ``seconds``, and a typical network ``epoch`` seconds an epoch.
        """
        hours = self.settings.hours
        if hours is None:
            return
        steps = min(_FEWEST_TRAININGS, search.trainings) * _FEWEST_STEPS
        least = seconds * steps / (search.trainings * search.training_steps)
        smallest = NARROWED[-1]
        if self.settings.image_size is None:
            smallest *= (SIDES[-1] / search.image_size) ** 2
        least += _FEWEST_EPOCHS * len(FINALISTS) * epoch * smallest + AFTERWARDS
        if 3600 * hours < least:
            raise ValueError(
                f"hours={hours:g} ({clock(3600 * hours)}) are too few: the shortest search, two "
                f"epochs of the smallest networks, tests and copies take about {clock(least)}"
            )

    # What a plan is made of.

    @property
    def balance(self) -> Literal["none", "weights", "sampling"]:
        """How all networks are trained on uneven classes."""
        return self.settings.balance_for(self.imbalance)

    @property
    def imbalance(self) -> float:
        """Pictures to train on of the largest class over those of the smallest."""
        return imbalance(self._sizes)

    @property
    def last_round(self) -> Sequence[str]:
        """The stages of the last round; one without a network does nothing."""
        pretrained = self.settings.pretrained
        if pretrained is None:
            return FINALISTS
        return (*FINALISTS, *(PRETRAINED if pretrained == HUB else PRETRAINED[:1]))

    @property
    def entrants(self) -> Sequence[str]:
        """The stages of the last round that have a network."""
        return [*self._networks]

    def network(self, name: str) -> Entrant:
        """A network of the last round."""
        return self._networks[name]

    @property
    def _networks(self) -> Mapping[str, Entrant]:
        """The networks of the last round by their stages."""
        finalists = self.results.finalists
        return {
            **dict(zip(FINALISTS, finalists.networks, strict=False)),
            **dict(zip(PRETRAINED, finalists.pretrained, strict=False)),
        }

    @property
    def _sizes(self) -> Sequence[int]:
        """Pictures of each class to train on; one number where they are not known."""
        pictures = self.results.pictures
        return pictures.sizes or [pictures.train]

    @property
    def _validation_pictures(self) -> float:
        """Validation pictures of the last round.

        For balanced accuracy, as many of even classes as would give the same standard error.
        """
        if self.balance == "none":
            return max(1, round(self._validation_share * sum(self._sizes)))
        sizes = [max(1, self._validation_share * size) for size in self._sizes]
        return len(sizes) ** 2 / sum(1 / size for size in sizes)

    def _is_conclusive(self, name: str) -> bool:
        """Whether the accuracy of a network in the last round tells how it will end.

        It does if it is nearer to 100 % than to chance, or after many updates.
        """
        updates = self.epochs_of(name) * self._pictures_of(name) / self._recipe["batch_size"]
        half = (self._chance + 100) / 2
        return self.results.trained(name).validation >= half or updates >= _CONCLUSIVE

    def epochs_of(self, name: str) -> int:
        """The epochs that a network of the last round was trained for."""
        return self.results.trained(name).epochs or self.results.epochs.epochs[name]

    def _pictures_of(self, name: str) -> int:
        """The pictures that a network of the last round was trained on."""
        return self.results.epochs.pictures.get(name, self._train_pictures)

    @property
    def _chance(self) -> float:
        """The accuracy of always answering the largest class, per cent."""
        sizes = [1] * self._classes if self.balance != "none" else self._sizes
        return 100 * max(sizes) / sum(sizes) if len(sizes) > 1 else 100 / self._classes

    def _weights(self, name: str) -> Path:
        """The file of the weights that a pretrained network starts from."""
        return self.folder / PRETRAINED_WEIGHTS[PRETRAINED.index(name)]

    def warm(self, name: str) -> bool:
        """Whether a network of the last round begins with weights of fractals."""
        if name in PRETRAINED:
            return False
        return self._warms(self.network(name).family, self.results.pictures.train, self._channels)

    def shares(self, pictures: int, channels: int = 3) -> Mapping[str, float]:
        """The shares of the hours of a design with so many pictures to train on."""
        if not self._warms(self._first_family, pictures, channels):
            return SHARES
        return {**SHARES, "fractals": _WARM_SHARE, "training": SHARES["training"] - _WARM_SHARE}

    def _warms(self, family: str, pictures: int, channels: int) -> bool:
        """Whether networks of a family begin with weights of fractals, for so many pictures.

        Fractals have the channels of pictures.
        """
        how = self.settings.warm_start
        if channels != PICTURE_CHANNELS:
            return False
        few = pictures < FRACTALS_BELOW
        return how == "fractals" or (how == "auto" and family in _WARM_FAMILIES and few)

    @cached_property
    def sizes(self) -> Sizes:
        """The widths that the limits allow."""
        return Sizes(self.settings, self._classes, self._channels, self.latency)

    @property
    def fitting(self) -> Fitting:
        """What fits images and networks to limits and time; the pictures may change before."""
        pictures = self.results.pictures
        key = pictures.side, pictures.train
        if key not in self._fittings:
            self._fittings[key] = Fitting(
                self.settings,
                self.sizes,
                self._sample[0],
                pictures=pictures.side,
                steps=self._steps,
                pace=self._pace,
                time=lambda: self._left * SHARES["training"] / _TRAINING_SHARE,
            )
        return self._fittings[key]

    def _pace(
        self, text: str, side: int, *, folder: str = "training", data: str | None = None
    ) -> tuple[float, int]:
        """Seconds and updates of an epoch of the training of a network, timed."""
        plan = self._training(text, side, 2, folder, data=data).plan()
        return float(plan["time"]["epoch"]), plan["steps_per_epoch"]

    def latency(self, text: str, side: int) -> Latency:
        """The latency of a network: in a process of its own, or by a command, asked once."""
        s = self.settings
        how = side, s.latency_batch, s.device, s.latency_runtime
        sizes: Any = {"num_classes": self._classes, "in_chans": self._channels}
        if s.latency_command is not None:
            return latency(text, *how, **sizes, command=s.latency_command)
        return fresh_latency(text, *how, **sizes)

    @property
    def _classes(self) -> int:
        return len(self.results.pictures.classes)

    @property
    def _channels(self) -> int:
        return self.results.pictures.channels

    @property
    def _listed(self) -> str:
        """The list of the pictures, as its runs name it."""
        return with_reading(self.folder / PICTURES, split_reading(self.settings.data)[1])

    @property
    def search_settings(self) -> TrainingSearchSettings:
        """The search as it is planned."""
        plan = self.results.plan
        settings = self._search_within(plan.max_macs, plan.image_size, self._listed)
        known = {name: value for name, value in vars(plan).items() if value != 0}  # see SearchPlan
        return replace(settings, **known)

    def finalist(
        self,
        name: str,
        epochs: int,
        *,
        hours: float | None = None,
        pictures: int | None = None,
        warm: bool = False,
    ) -> TrainAlgorithm:
        """The training of a network of the last round, on four fifths of the pictures or fewer.

        A ``warm`` one begins with the weights of its training on fractals.
        """
        text, side = self.network(name).architecture, self.results.finalists.side
        options = {**self._tuning(name), "train_images": pictures, "hours": hours}
        if name in PRETRAINED:
            options |= {"weights": str(self._weights(name)), "new_head": True}
        elif warm:
            options |= {"weights": str(self.folder / _fractals_folder(name)), "new_head": True}
        return self._training(text, side, epochs, name, **options)

    def fractals(self, name: str, pictures: int, epochs: int) -> TrainAlgorithm:
        """The training of a network of the last round on so many fractals."""
        text, side = self.network(name).architecture, self.results.finalists.side
        classes = int(_FRACTALS.partition(":")[2])
        count = {"train_images": pictures, "validation_images": classes}
        return self._training(
            text,
            side,
            epochs,
            _fractals_folder(name),
            data=_FRACTALS,
            **{**recipe_for(pictures), **count, "teacher": None, "teacher_weights": None},
        )

    def training(self) -> TrainAlgorithm:
        """The training of the winner on all pictures, from its weights in the last round.

        Where these do not tell how it will end, it begins as it did there: a whole schedule of
        few updates leaves weights that learn more slowly than fresh ones.
        """
        choice = self.results.choice
        winner, weights = choice.winner, dict[str, Any]()
        if winner in PRETRAINED or self._is_conclusive(winner):
            weights = {"weights": str(self.folder / winner)}
        elif winner in self.results.epochs.fractals:
            weights = {"weights": str(self.folder / _fractals_folder(winner)), "new_head": True}
        return self._training(
            self.network(winner).architecture,
            self.results.finalists.side,
            choice.epochs,
            "training",
            **self._tuning(winner),
            **weights,
            hours=choice.hours,
            train_on_validation=True,
            # Their accuracy says nothing any more. A part for it may have fewer.
            validation_images=min(
                self._classes, self.results.pictures.validation or self._classes
            ),
        )

    def _training(
        self,
        text: str,
        side: int,
        epochs: int,
        folder: str,
        *,
        data: str | None = None,
        **options: Any,
    ) -> TrainAlgorithm:
        s = self.settings
        taught = {"teacher": s.teacher, "teacher_weights": s.teacher_weights}
        return TrainAlgorithm.make(
            architecture=text,
            data=data or self._listed,
            held_out=VALIDATION_SHARE,
            bad_images="stop" if data is None else "replace",
            balance=self.balance,
            image_size=side,
            recipe="small",
            epochs=epochs,
            **{**taught, **self._recipe, **options},
            seed=s.seed,
            device=s.device,
            **self.stage_options(folder),
        )

    def _search(self, side: int, data: str) -> TrainingSearchSettings:
        """A search as long as it pays at an image size.

        Where only time is limited, the networks have the multiply-adds of some within the limit.
        """
        s, own = self.settings, self.fitting.side
        macs = s.max_macs
        if macs is not None:  # as many for each pixel, or as many as a wide network has
            fewer = max(macs * (side / own) ** 2, PER_PIXEL * side**2)
            macs = min(macs, round(fewer))
        elif s.max_params is None:
            macs = round(self._quick_macs * (side / own) ** 2)
        return self._search_within(macs, side, data)

    def _search_within(self, macs: int | None, side: int, data: str) -> TrainingSearchSettings:
        """A search of networks with so many multiply-adds, with the final augmentation."""
        s, final = self.settings, RECIPES["small"]
        return TrainingSearchSettings(
            space=s.space,
            controller="predictor",
            trainings=s.trainings,
            max_params=s.max_params,
            max_macs=macs,
            width_multiple=s.width_multiple,
            image_size=side,
            data=data,
            flip=True,
            crop_scale=final["crop_scale"],
            color_jitter=final["color_jitter"],
            balance=self.balance,
            device=s.device,
            seed=s.seed,
            **self._recipe,
        )

    def _search_seconds(self, search: TrainingSearchSettings) -> float:
        """About how many seconds a search takes on the pictures that there are."""
        own = with_images(search, self.results.pictures.train)
        return training_seconds(own, self.workers)

    def _shortened(
        self, search: TrainingSearchSettings, seconds: float, allowed: float
    ) -> TrainingSearchSettings:
        """A search of about so many ``seconds``, cut down to those that are ``allowed``.

        First it has fewer families, then fewer trainings and fewer steps of each.
        """
        if allowed < seconds:
            search = self._fewer_families(search, allowed / seconds)
            own = with_images(search, self.results.pictures.train)
            if (equally := paces(own, self.workers)) is not None:
                text, seconds = equally  # what learns most in equal time goes on
                search = replace(search, paces=text)
        part = min(1.0, allowed / seconds)
        wanted = max(_FEWEST_TRAININGS, len(load_space(search.space).by_hand))
        fewer = min(search.trainings, max(wanted, round(search.trainings * math.sqrt(part))))
        steps = round(search.training_steps * part * search.trainings / fewer)
        return replace(search, trainings=fewer, training_steps=max(_FEWEST_STEPS, steps))

    @staticmethod
    def _fewer_families(search: TrainingSearchSettings, part: float) -> TrainingSearchSettings:
        """The first families of the space, as many as are trained long enough in part of the time.

        A training of a few dozen steps says little of any.
        """
        space = load_space(search.space)
        if not isinstance(space, UnionSpace):
            return search
        most = max(
            _FEWEST_TRAININGS, int(part * search.trainings * search.training_steps / _RACE_STEPS)
        )
        if most >= len(space.members):
            return search
        families = ",".join(space.members[:most])
        logger.warning("there is time for %d families: %s", most, families.replace(",", ", "))
        return replace(search, space=families)

    @cached_property
    def _quick_macs(self) -> float:
        """Median multiply-adds of a few networks within the limit of latency."""
        quick, side = list[float](), self.fitting.side
        for arch in self._sample:
            try:
                quick.append(self.sizes.macs(self.sizes.widest(arch, side), side))
            except ValueError:  # too slow at any width
                continue
            if len(quick) == _EXAMPLES:
                break
        if not quick:
            raise ValueError(
                f"max_latency={self.settings.max_latency:g} ms is too short for all networks that "
                f"were tried at {side} px; allow more time, or smaller images"
            )
        return statistics.median(quick)

    @cached_property
    def _sample(self) -> Sequence[Architecture]:
        """Some architectures of the space: those made by hand first."""
        space, rng = load_space(self.settings.space), np.random.default_rng(self.settings.seed)
        by_hand = [space.parse(text) for text in space.by_hand]
        return [*by_hand, *(space.sample(rng) for _ in range(max(0, 15 - len(by_hand))))]

    def _tuning(self, name: str) -> dict[str, Any]:
        """The learning rate of a finalist with published weights, which it should not unlearn.

        Weights of a few thousand pictures take the usual one: ResNets that were trained on
        fractals came out worse at a half and a quarter of it, on drawn pictures and on digits.
        """
        published = self.network(name).pretrained.startswith(PREFIX)
        return (
            {"learning_rate": _TUNING_SHARE * self._recipe["learning_rate"]} if published else {}
        )

    def _is_expected(self, network: Entrant) -> bool:
        """Whether a network would be expected to win before the last round.

        Of the first family that is the one made by hand, unless the search ranks.
        """
        if network.pretrained:
            return True
        chosen = network.by_hand or self.results.search.ranked
        return chosen and network.family == self._first_family

    @property
    def _first_family(self) -> str:
        """The family that others have to beat: the first of the space with a network by hand."""
        space = load_space(self.settings.space)
        return space.family_of(space.by_hand[0]) if space.by_hand else ""

    @property
    def _recipe(self) -> Mapping[str, Any]:
        return recipe_for(self.results.pictures.train)

    @property
    def _steps(self) -> int:
        """Updates of an epoch on all pictures."""
        return max(1, int(self.results.pictures.train / self._recipe["batch_size"]))

    def _fewer_pictures(self, share: float) -> int:
        """How many pictures a share of those of the last round is; never quite all.

        At least a batch, and one of each class.
        """
        least: int = max(self._recipe["batch_size"], self._classes)
        most = self._train_pictures - self._classes  # each is divided by itself
        return max(least, min(most, int(share * self._train_pictures)))

    @property
    def _train_pictures(self) -> int:
        """About how many pictures the last round has to train on."""
        return max(1, round((1 - self._validation_share) * self.results.pictures.train))

    @property
    def _validation_share(self) -> float:
        """Share of the pictures to train on that the last round is decided by."""
        pictures = self.results.pictures
        return pictures.validation / pictures.train or VALIDATION_SHARE

    @property
    def _left(self) -> float:
        """Seconds for the trainings."""
        whole = 3600 * (self.settings.hours or math.inf)
        after = max(SHARES["rest"] * whole, AFTERWARDS) if self.settings.hours else 0.0
        return max(1.0, whole - after - self.elapsed())


def recipe_for(pictures: int) -> Mapping[str, Any]:
    """Batch and learning rate of all trainings on so many pictures, a fifth of them to validate.

    Fewer pictures would make few updates of large batches.
    """
    trained = int((1 - VALIDATION_SHARE) * pictures)
    least, most = _BATCH_SIZES
    batch = min(max(small_batch(trained), least if trained >= 2 * least else 0), most)
    return {"batch_size": batch, "learning_rate": _LEARNING_RATE * min(1.0, batch / least)}


def stage_files() -> Sequence[str]:
    """The files of the runs of all stages, relative to the run folder."""
    trained = (*FINALISTS, *map(_fractals_folder, FINALISTS), *PRETRAINED, "training")
    files = {"search": SearchRun.files, **dict.fromkeys(trained, TrainRun.files)}
    return [f"{stage}/{name}" for stage, own in files.items() for name in own.names]


def _candidates(ranking: Sequence[Entrant], first: str) -> Iterable[Entrant]:
    """The networks of a search, in the order in which the last round takes them."""
    by_hand = [entry for entry in ranking if entry.by_hand]
    by_hand.sort(key=lambda entry: entry.family != first)
    best = [ranking[0], *by_hand[:1]]
    families = {entry.family for entry in best}
    others = [entry for entry in ranking if entry.family not in families]
    order = [*best, *others, *by_hand, *ranking]
    return {entry.architecture: entry for entry in order}.values()


def _fractals_folder(name: str) -> str:
    """The folder of the training on fractals of a network of the last round."""
    return f"{name}-fractals"


def _error(first: float, second: float, pictures: float) -> float:
    """Standard error of the difference of two accuracies in per cent, of so many pictures each."""
    return math.sqrt(sum(one * (100 - one) for one in (first, second)) / pictures)
