"""The plan of a design: how large its networks are, and how long each of its parts takes.

Without hours, as much as pays. With them, the search and the last round have their shares,
networks that would be trained too briefly are made smaller, and the training has what is left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from asvit.core.console import clock, duration
from asvit.core.files import split_reading, with_reading
from asvit.core.run_files import PICTURES
from asvit.core.shared_settings import pass_options
from asvit.data.base import TEST, TRAIN, VALIDATION
from asvit.data.tables import open_table
from asvit.designs import fractals
from asvit.designs.families import SIDES
from asvit.designs.fitting import (
    NARROWED,
    OFTEN,
    PER_PIXEL,
    Fitting,
    enough_epochs,
    per_pixel,
)
from asvit.designs.hours import AFTERWARDS, Hours
from asvit.designs.last_round import SHARE_OF_FINAL, LastRound, contenders, first_family
from asvit.designs.pretrained import Pretrained, candidates, check_weights, largest
from asvit.designs.recipe import updates_of_an_epoch
from asvit.designs.settings import DesignSettings
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
from asvit.measuring.latency import Latency
from asvit.runs.algorithms.design_search import DesignSearch, least_seconds, plan_of
from asvit.runs.algorithms.design_trainings import Trainings, unless_it_fails
from asvit.runs.timing import fresh_latency, latency
from asvit.search.settings import SearchSettings
from asvit.spaces import load_space
from asvit.spaces.base import Architecture
from asvit.use.trained_on import count_trained
from proxies.messages import first_line

logger = logging.getLogger(__name__)

_ENOUGH_STEPS = 100  # of each training of a search at least, before images are made smaller
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
    _default_paces: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)

    # The stages that plan those after them.

    def search(self) -> SearchPlan:
        """How much the search trains, and at which image size, in its share of the time."""
        fitting = self.fitting
        if not self._chooses(self._listed):
            return self._default()
        search = self._search(self._listed)
        self.sizes.check_speed(self._sample, fitting.smallest_side)
        sides = fitting.sides_in_time(self._sample[0])
        if sides[0] < fitting.whole_side:
            logger.warning(
                "images are seen at %d px: for larger ones, limits or time allow too few "
                "multiply-adds a pixel (%s, or %s for %d epochs); --image-size %d keeps them",
                sides[0],
                f"{PER_PIXEL:,}",
                per_pixel(OFTEN),
                OFTEN,
                fitting.whole_side,
            )
        if self.settings.hours is None:
            times = self.seconds(self._listed)
            words = ", ".join(f"{name} {duration(took)}" for name, took in times.items())
            logger.warning(
                "without --hours this takes about %s (%s); stop it and give --hours N for N hours",
                *(duration(sum(times.values())), words),
            )
            return plan_of(search.whole(sides[0], fitting.search_macs(sides[0])))
        seconds = self.seconds(self._listed)["search"]
        for side in sides:
            macs, epochs = fitting.search_macs_in_time(side), round(fitting.epochs(side))
            whole = search.whole(side, macs, epochs)
            known = side == fitting.side and macs == fitting.search_macs(side)
            took = seconds if known else search.seconds(whole)
            settings = search.shortened(whole, took, self.hours.of("search"))
            if settings.training_steps >= _ENOUGH_STEPS:
                break
        return plan_of(settings, epochs)

    def _default(self) -> SearchPlan:
        """The plan without a search."""
        s = self.settings
        self._seconds_of_default(self._listed)  # of too few hours
        text, side, _ = self.fitting.fit(self._sample[0])
        logger.warning(
            "too little time to choose among networks: the default is trained, %s; more --hours "
            "allow a choice",
            text,
        )
        return SearchPlan(
            trainings=0,
            training_steps=0,
            image_size=side,
            max_macs=s.max_macs,
            max_params=s.max_params,
            width_multiple=s.width_multiple,
            epochs=round(self.fitting.epochs(side)),
        )

    def finalists(self) -> Finalists:
        """The networks of the last round and the image size, as limits and time allow.

        Three of the search's; two where it ranks nothing, and one where there was none.
        """
        search, space = self.results.search, load_space(self.settings.space)
        errors, networks = list[ValueError](), dict[str, Entrant]()
        side = self.fitting.side
        wanted = len(FINALISTS) if search.ranked else 2
        if not self.results.plan.trainings:
            wanted = 1
        for entry in contenders(search.ranking, first_family(self.settings)):
            try:
                arch = space.parse(entry.architecture)
                text, side, narrowed = self.fitting.fit(arch, side if networks else None)
            except ValueError as error:  # too large or slow at any width
                errors.append(error)
                if entry.by_hand:
                    logger.warning(
                        "the network made by hand of %s is not in the last round: %s",
                        *(entry.family, error),
                    )
                continue
            networks.setdefault(text, replace(entry, architecture=text, narrowed=narrowed))
            if len(networks) == wanted:
                break
        if not networks:
            raise ValueError(f"{errors[0]}; the same command with another limit goes on from here")
        tuned = self._store_pretrained(side)
        return Finalists(side=side, networks=[*networks.values()], pretrained=tuned)

    def epochs(self) -> Lengths:
        """How long the finalists are trained: as long as it pays, or equally long.

        The only one is trained on fractals at most.
        """
        if not self.results.plan.trainings:
            return self._of_default()
        last_round, plans = self.last_round, dict[str, dict[str, Any]]()
        for name in (entrants := last_round.entrants):
            network, alone = last_round.network(name), not plans and name == entrants[-1]
            plan = unless_it_fails(network, partial(self.trainings.plan, name), alone=alone)
            if plan is not None:
                plans[name] = plan
        enough = enough_epochs(max(plan["steps_per_epoch"] for plan in plans.values()))
        seconds = {name: enough * float(plan["time"]["epoch"]) for name, plan in plans.items()}
        hours = None
        if self.settings.hours is not None:
            shortest = _FEWEST_EPOCHS / enough * max(seconds.values())
            time = max(shortest, self.hours.left_for("last round") / len(plans))
            seconds = {name: min(took, time) for name, took in seconds.items()}
            hours = time / 3600
        speeds = {
            name: float(plan["time"]["images_per_second"])
            for name, plan in plans.items()
            if last_round.begins_with_fractals(name)
        }
        before = fractals.lengths(speeds, self.hours.left_for("fractals"))
        for name, (pictures, count) in before.items():  # in the same stage
            seconds[name] += pictures * count / speeds[name]
        return Lengths(
            epochs=dict.fromkeys(plans, enough),
            hours=hours,
            fractals=before,
            fractal_hours=self._fractal_hours(before),
            seconds=seconds,
            training=None if hours is None else self.hours.left_for("training"),
        )

    def _fractal_hours(self, before: Mapping[str, object]) -> float | None:
        """The time of each training on fractals, all of which have a share."""
        if self.settings.hours is None or not before:
            return None
        return self.hours.left_for("fractals") / len(before) / 3600

    def _of_default(self) -> Lengths:
        """How long the default network is trained on fractals, if it is."""
        speeds, name = dict[str, float](), FINALISTS[0]
        if self.last_round.begins_with_fractals(name):
            time = self.trainings.plan(name)["time"]
            speeds[name] = float(time["images_per_second"])
        before = fractals.lengths(speeds, self.hours.left_for("fractals"))
        seconds = {
            name: pictures * epochs / speeds[name] for name, (pictures, epochs) in before.items()
        }
        return Lengths(
            epochs={}, fractals=before, fractal_hours=self._fractal_hours(before), seconds=seconds
        )

    def choice(self) -> Choice:
        """Which finalist is trained on all pictures, and for how many epochs or hours at most."""
        last_round, pictures = self.last_round, self.results.pictures
        winner, whole = last_round.winner, pictures.train
        # Pictures to validate on took a third of the time of others.
        validated = last_round.validation_share * whole / 3
        per_image = {  # seconds of an image to train on
            name: self.results.trained(name).epoch_seconds
            / (last_round.train_pictures + validated)
            for name in last_round.entrants
        }
        tested = sum(per_image.values())
        if winner not in per_image:
            text = last_round.network(winner).architecture
            epoch, _ = self.trainings.pace(text, last_round.side)
            per_image[winner] = epoch / (last_round.train_pictures + validated)
        epoch = per_image[winner] * whole
        epochs, hours = enough_epochs(updates_of_an_epoch(pictures)), None
        seconds = epochs * epoch
        if self.settings.hours is not None:
            tests = pictures.test * (tested + per_image[winner])
            hours = max(epoch, self.hours.left - _TEST_COST * tests) / 3600
            seconds = min(seconds, 3600 * hours)
        return Choice(
            winner=winner,
            by_hand=last_round.best_by_hand,
            accuracies=last_round.scores,
            epochs=epochs,
            hours=hours,
            seconds={"training": seconds},
        )

    # Pretrained networks.

    def check_pretrained(self, data: str) -> None:
        """Check before a design starts that pretrained networks race, and have weights.

        Raises:
            ValueError: If none is within the limits, or a network does not take images of the
                sizes that the design may have.
            FileNotFoundError: If weights are missing.
        """
        fitting = self.fitting
        sides = [fitting.side] if self.settings.hours is None else fitting.sides
        for network in self._pretrained(sides[-1], data):
            check_weights(network, sides, self._classes, self._channels)

    def _pretrained(self, side: int, data: str | None = None) -> Sequence[Pretrained]:
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
        trained = candidates(s.pretrained, s.space, s.architecture)

        def check_time(network: Pretrained) -> None:
            """Check that the last round has time for a few epochs."""
            if s.hours is None:
                return
            text = network.architecture
            epoch, _ = self.trainings.pace(text, side, folder=PRETRAINED[0], data=data)
            time = self.hours.of("last round") / len(self.last_round.stages)
            took = _TUNING_EPOCHS * epoch
            if time < took:
                raise ValueError(
                    f"{text}: {_TUNING_EPOCHS} epochs take {clock(took)} at {side} px, more than "
                    f"the {clock(time)} it has of the hours"
                )

        return largest(trained, self.sizes, self.fitting.side, check_time)

    def _store_pretrained(self, side: int) -> Sequence[Entrant]:
        """Write the weights of the pretrained networks that race into the run folder.

        It is no error if none is within the limits any more at the image size that time allows.
        """
        try:
            chosen = self._pretrained(side)
        except ValueError as error:
            logger.warning("no pretrained network is in the last round: %s", first_line(error))
            chosen = ()
        for name, network in zip(PRETRAINED, chosen, strict=False):
            network.file().write(self.trainings.pretrained_weights(name))
        return [
            Entrant(
                family=network.family,
                architecture=network.architecture,
                by_hand=False,
                pretrained=network.source,
                trained_on=self._trained_on(network),
            )
            for network in chosen
        ]

    def _trained_on(self, network: Pretrained) -> int:
        """How many of the test pictures a pretrained network was trained on.

        It warns of them, and of those that it is trained on, a part of which is to validate.
        """
        if network.published:
            return 0
        weights = network.source
        parts = [TRAIN, *[VALIDATION] * bool(self.results.pictures.validation)]
        self._known(weights, "it looks better in the last round than it is", *parts)
        return self._known(weights, "on others its network is worse")

    def _known(self, weights: str, effect: str, *parts: str) -> int:
        """How many of the pictures of some parts weights were trained on; it warns of them.

        By default of those to test on.
        """
        there = [open_table(self.folder / PICTURES, part) for part in parts or (TEST,)]
        if count := sum(count_trained(weights, images) for images in there):
            what = "pictures to train and validate on" if parts else "test pictures"
            logger.warning(
                "%s was trained on %d of the %d %s: %s",
                *(weights, count, sum(map(len, there)), what, effect),
            )
        return count

    # How long all takes.

    def seconds(self, data: str) -> Mapping[str, float]:
        """About how many seconds the parts take on these pictures, with nothing cut short.

        Raises:
            ValueError: If the least that can be done takes longer than the hours.
        """
        if not self._chooses(data):
            return self._seconds_of_default(data)
        side, search = self.fitting.side, self._search(data)
        settings = search.whole(side, self.fitting.search_macs(side))
        searching = search.seconds(settings)
        typical = self.fitting.typical(side, settings.max_macs)
        epoch, steps = self.trainings.pace(str(typical), side, data=data)
        least = least_seconds(settings, searching)
        self._check_hours(least, len(FINALISTS) * epoch, settings.image_size)
        training = epoch * enough_epochs(steps)
        ready = "finalists" in self.results
        stages = self.last_round.entrants if ready else self.last_round.stages
        rounds = dict.fromkeys(stages, training)
        most = len(FINALISTS) if self.settings.warm_start == "fractals" else 1
        for name in [name for name in stages if name in FINALISTS][:most]:
            rounds[name] += self._seconds_on_fractals(epoch)
        return {"search": searching, **rounds, "training": training, "rest": AFTERWARDS}

    def _chooses(self, data: str) -> bool:
        """Whether there is time to choose among networks, so that the last round tells anything.

        A pretrained network races always, as do those of spaces without one made by hand.
        """
        s, space = self.settings, load_space(self.settings.space)
        if "plan" in self.results:
            return self.results.plan.trainings > 0
        if s.hours is None or s.pretrained is not None or not space.by_hand:
            return True
        epoch, steps = self._pace_of_default(data)
        final = min(self.hours.of("training"), enough_epochs(steps) * epoch)
        return self.hours.of("last round") / 2 >= SHARE_OF_FINAL * final

    def _pace_of_default(self, data: str) -> tuple[float, int]:
        """Seconds and updates of an epoch of the default network, as wide as limits allow."""
        if data not in self._default_paces:
            side = self.fitting.side
            arch = self.sizes.widest(self._sample[0], side)
            self._default_paces[data] = self.trainings.pace(str(arch), side, data=data)
        return self._default_paces[data]

    def _seconds_of_default(self, data: str) -> Mapping[str, float]:
        """As :meth:`seconds`, without a search."""
        epoch, steps = self._pace_of_default(data)
        self._check_hours(0.0, epoch, self.fitting.side)
        parts = {"training": epoch * enough_epochs(steps), "rest": AFTERWARDS}
        before = self._seconds_on_fractals(epoch)
        return {FINALISTS[0]: before, **parts} if before else parts

    def _seconds_on_fractals(self, epoch: float) -> float:
        """How long a whole training on fractals takes, by an epoch on the pictures; 0 for none."""
        pictures, family = self.results.pictures, first_family(self.settings)
        if not fractals.begins_with_them(self.settings, family, pictures):
            return 0.0
        return fractals.PICTURES[1] * fractals.EPOCHS[1] / pictures.train * epoch

    def _check_hours(self, search: float, epoch: float, side: int) -> None:
        """Check that the hours allow the shortest search and trainings.

        The search takes so many seconds at least, and an epoch of typical networks together
        ``epoch`` seconds at a side of images.
        """
        smallest = NARROWED[-1]
        if self.settings.image_size is None:
            smallest *= min(1.0, (SIDES[-1] / side) ** 2)
        least = search + _FEWEST_EPOCHS * epoch * smallest + AFTERWARDS
        if (whole := self.hours.whole) < least:
            raise ValueError(
                f"hours={self.settings.hours:g} ({clock(whole)}) are too few: two epochs of the "
                f"smallest networks, tests and copies take about {clock(least)}"
            )

    # What a plan is made of.

    @property
    def hours(self) -> Hours:
        """The time of the design."""
        return Hours(self.settings.hours, self.elapsed)

    @cached_property
    def last_round(self) -> LastRound:
        """The networks that are trained alike."""
        return LastRound(self.settings, self.results)

    @cached_property
    def trainings(self) -> Trainings:
        """The runs that train networks."""
        return Trainings(self.last_round, self.folder, self._listed, self.stage_options)

    @property
    def search_settings(self) -> SearchSettings:
        """The search as it is planned."""
        return self._search(self._listed).planned(self.results.plan)

    def _search(self, data: str) -> DesignSearch:
        """The search on these pictures."""
        return DesignSearch(self.settings, self.results.pictures, data, self.workers)

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
                self._sample,
                pictures=pictures.side,
                steps=updates_of_an_epoch(pictures),
                pace=self.trainings.pace,
                time=lambda: self.hours.left_for("training"),
            )
        return self._fittings[key]

    def latency(self, text: str, side: int) -> Latency:
        """The latency of a network: in a process of its own, or by a command, asked once."""
        sizes = {"image_size": side, "num_classes": self._classes, "in_chans": self._channels}
        options: Any = {**sizes, **pass_options(self.settings)}
        if self.settings.latency_command is not None:
            return latency(text, **options)
        return fresh_latency(text, **options)

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

    @cached_property
    def _sample(self) -> Sequence[Architecture]:
        """Some architectures of the space: those made by hand first."""
        space, rng = load_space(self.settings.space), np.random.default_rng(self.settings.seed)
        by_hand = [space.parse(text) for text in space.by_hand]
        return [*by_hand, *(space.sample(rng) for _ in range(max(0, 15 - len(by_hand))))]
