"""The plan of a design: what the search trains, how large networks are, how long they train.

Without hours, as much as pays. With them, the search has its share, networks that would be trained
too briefly are made smaller, and the trainings have what is left.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asvit.architectures.genotype import Genotype
from asvit.core.console import clock
from asvit.core.run_files import PICTURES
from asvit.core.settings import fields_of
from asvit.designs.settings import DesignSettings
from asvit.designs.sizes import HAND_MADE, Sizes
from asvit.executors import Workers
from asvit.runs.algorithms.training import TrainAlgorithm, small_batch
from asvit.runs.estimate import training_seconds
from asvit.runs.timing import fresh_latency
from asvit.search.limits import Limits
from asvit.search.settings import TrainingSearchSettings
from asvit.spaces import cost, load_space
from asvit.spaces.base import Architecture
from proxies.latency import Latency

logger = logging.getLogger(__name__)

RIVAL = "hand-made"  # stage and folder of the network that is compared with
#: Of the hours.
SHARES = {"search": 0.3, "training": 0.31, RIVAL: 0.31, "rest": 0.08}
AFTERWARDS = 100.0  # seconds that tests, copies and latencies take at least
SIDES = (224, 192, 160, 128, 96, 64)  # pixels, to fall back on where time is short

_SEARCH_SIDE, _SEARCH_WIDTH = 32, 16  # of the search's trainings, whose cost is that of this width
_TRAININGS, _STEPS = 12, 30  # of a search at least, unless fewer are asked for
_WORTH = 40  # epochs that a network should be trained for, before time makes it smaller
_UPDATES, _EPOCHS = 3_000, (100, 400)  # that are enough, and within how many epochs
_SMALLER = (1, 0.5, 0.25, 0.12, 0.06, 0.03)  # shares of the multiply-adds, where time is short
_BATCH = 64  # images at most


@dataclass
class DesignPlan:
    """Decides sizes and lengths, from the results of the stages before."""

    settings: DesignSettings
    folder: Path
    results: Mapping[str, Mapping[str, Any]]  # of the finished stages, which become more
    elapsed: Callable[[], float]  # seconds of the whole design so far
    stage_options: Callable[[str], Mapping[str, Any]]  # folder and progress of a stage's run
    workers: Workers | None = None  # of the search

    def search(self) -> Mapping[str, Any]:
        """How much the search trains, in its share of the time; and if there can be a rival."""
        settings, sample = self._free_search()
        side = self.settings.image_size or SIDES[-1]
        self.sizes.check_speed(sample, side)
        rival = True
        try:
            self.sizes.check_speed([Genotype.parse(text) for text in HAND_MADE], side)
        except ValueError as error:
            logger.warning("%s: there will be no network made by hand to compare with", error)
            rival = False
        if self.settings.hours is not None:
            seconds = SHARES["search"] * self.settings.hours * 3600
            times = self._estimate(self.folder / PICTURES, settings, sample)
            part = min(1.0, seconds / times["search"])
            planned = self.settings.trainings
            fewer = max(min(_TRAININGS, planned), round(planned * math.sqrt(part)))
            steps = round(settings.training_steps * part * planned / fewer)
            settings = replace(settings, trainings=fewer, training_steps=max(_STEPS, steps))
        names = ("trainings", "training_steps", "max_macs", "max_params")
        return {**{name: getattr(settings, name) for name in names}, "rival": rival}

    def size(self) -> Mapping[str, Any]:
        """The image size and the widths that limits and time allow, of both networks."""
        space = load_space(self.settings.space)
        own = self._side
        smaller = [side for side in SIDES if side < own and self.settings.image_size is None]
        sizes = [(side, 1.0) for side in (own, *smaller)]
        sizes += [(sizes[-1][0], share) for share in _SMALLER[1:]]
        errors: list[ValueError] = []
        for text in self.results["search"]["finalists"]:
            smallest: tuple[Architecture, int] | None = None
            for side, share in sizes:
                try:
                    smallest = self.sizes.widest(space.parse(text), side, share), side
                except ValueError as error:  # too large or slow at any width
                    errors.append(error)
                    continue
                if self.settings.hours is None or self._affordable(*smallest) >= _WORTH:
                    break
            if smallest is not None:
                return self._with_rival(*smallest)
        raise ValueError(f"{errors[0]}; the same command with another limit goes on from here")

    def epochs(self) -> Mapping[str, Any]:
        """How long both networks are trained: as long as it pays, or as the time allows."""
        plans = {name: self.training(name, 2, name).plan() for name in self.trained}
        epochs = _enough(plans["training"]["steps_per_epoch"])
        each = {name: float(plan["time"]["epoch"]) for name, plan in plans.items()}
        if self.settings.hours is not None:
            # A few batches tell roughly; two epochs as they will be tell well.
            took = self.training("training", 2, "timing").run().last.seconds
            each = {name: seconds * took / each["training"] for name, seconds in each.items()}
            epochs = max(2, min(epochs, int(self._left / sum(each.values()))))
        seconds = {name: epochs * of_epoch for name, of_epoch in each.items()}
        return {"epochs": epochs, "seconds": seconds}

    def seconds(self, data: Path) -> Mapping[str, float]:
        """About how many seconds the parts take on these pictures, with nothing cut short.

        Raises:
            ValueError: If the least that can be done takes longer than the hours.
        """
        return self._estimate(data, *self._free_search())

    # What a plan is made of.

    @property
    def trained(self) -> Sequence[str]:
        """The networks that are trained: the design's own, and its rival, if there is one."""
        return [name for name in ("training", RIVAL) if self.results["size"][name] is not None]

    @cached_property
    def sizes(self) -> Sizes:
        """The widths that the limits allow."""
        classes = len(self.results["pictures"]["classes"])
        return Sizes(self.settings, classes, self.latency)

    def latency(self, text: str, side: int) -> Latency:
        """The latency of a network, measured in a process of its own."""
        s, classes = self.settings, len(self.results["pictures"]["classes"])
        how = side, s.latency_batch, s.device, s.latency_runtime
        return fresh_latency(text, *how, num_classes=classes)

    @property
    def search_settings(self) -> TrainingSearchSettings:
        """The search as it is planned."""
        fields, plan = fields_of(TrainingSearchSettings), self.results["plan"]
        return replace(self._search, **{name: plan[name] for name in plan if name in fields})

    @property
    def _search(self) -> TrainingSearchSettings:
        """The search without a plan, at its own image size; its multiply-adds are planned."""
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

    def training(self, name: str, epochs: int, folder: str) -> TrainAlgorithm:
        """The training of one of the two networks."""
        sizes = self.results["size"]
        return self._training_of(sizes[name], sizes["side"], epochs, folder)

    def _training_of(
        self, text: str, side: int, epochs: int, folder: str, *, data: Path | None = None
    ) -> TrainAlgorithm:
        s = self.settings
        # Fewer pictures would make few updates of large batches.
        batch = min(small_batch(int(0.9 * self.results["pictures"]["train"])), _BATCH)
        return TrainAlgorithm.make(
            architecture=text,
            data=str(data or self.folder / PICTURES),
            bad_images="stop" if data is None else "replace",
            image_size=side,
            recipe="small",
            batch_size=batch,
            epochs=epochs,
            seed=s.seed,
            device=s.device,
            teacher=s.teacher,
            teacher_weights=s.teacher_weights,
            **self.stage_options(folder),
        )

    @property
    def _side(self) -> int:
        """Side of the images where time does not make them smaller, in pixels."""
        side = self.results["pictures"]["side"] // 32 * 32
        return self.settings.image_size or min(max(side, SIDES[-1]), SIDES[0])

    @property
    def _left(self) -> float:
        """Seconds for the trainings."""
        whole = 3600 * (self.settings.hours or math.inf)
        after = max(SHARES["rest"] * whole, AFTERWARDS) if self.settings.hours else 0.0
        return max(1.0, whole - after - self.elapsed())

    def _macs(self, side: int) -> Callable[[Architecture], int]:
        classes = len(self.results["pictures"]["classes"])
        return lambda arch: cost(arch, side, classes).macs

    def _free_search(self) -> tuple[TrainingSearchSettings, Sequence[Architecture]]:
        """The search that there would be time for without a limit, and some architectures."""
        space, rng = load_space(self.settings.space), np.random.default_rng(self.settings.seed)
        settings = self._search
        free = Limits(space, replace(settings, max_params=None, width=_SEARCH_WIDTH))
        sample = [free.network(space.sample(rng)) for _ in range(15)]
        macs = statistics.median(map(self._macs(settings.image_size), sample))
        return replace(settings, max_macs=round(macs)), sample

    def _estimate(
        self, data: Path, settings: TrainingSearchSettings, sample: Sequence[Architecture]
    ) -> Mapping[str, float]:
        """See :meth:`seconds`; a network of middling size stands for those that are trained."""
        hours, side = self.settings.hours, self._side
        search = training_seconds(replace(settings, data=str(data)), self.workers)
        networks = sorted(map(self.sizes.limits(side).network, sample), key=self._macs(side))
        typical = str(networks[len(networks) // 2])
        plan = self._training_of(typical, side, 2, "training", data=data).plan()
        epoch = float(plan["time"]["epoch"])
        training = epoch * _enough(plan["steps_per_epoch"])
        planned = self.settings.trainings
        few = min(_TRAININGS, planned) * _STEPS
        smallest = _SMALLER[-1]
        if self.settings.image_size is None:
            smallest *= (SIDES[-1] / side) ** 2
        least = search * few / (planned * settings.training_steps)
        least += 2 * 2 * epoch * smallest + AFTERWARDS
        if hours is not None and 3600 * hours < least:
            raise ValueError(
                f"hours={hours:g} ({clock(3600 * hours)}) are too few: the shortest search, two "
                f"epochs of the smallest networks, tests and copies take about {clock(least)}"
            )
        return {"search": search, "training": training, RIVAL: training, "rest": AFTERWARDS}

    def _affordable(self, arch: Architecture, side: int) -> float:
        """Epochs of a network that there is time for, where one of its kind is trained beside."""
        plan = self._training_of(str(arch), side, 2, "training").plan()
        networks = 2 if self.results["plan"]["rival"] else 1
        return self._left / (networks * float(plan["time"]["epoch"]))

    def _with_rival(self, arch: Architecture, side: int) -> Mapping[str, Any]:
        """The chosen network, and one made by hand with no more multiply-adds if that can be."""
        sizes = {"side": side, "training": str(arch)}
        try:
            return {**sizes, RIVAL: str(self.sizes.hand_made(arch, side))}
        except ValueError as error:
            logger.warning("%s: there is no network made by hand to compare with", error)
            return {**sizes, RIVAL: None, "without": str(error)}


def _enough(steps: int) -> int:
    """Epochs of so many updates that are enough."""
    return min(max(math.ceil(_UPDATES / steps), _EPOCHS[0]), _EPOCHS[1])
