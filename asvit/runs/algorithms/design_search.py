"""The search of a design: its settings, what of it a time allows, and what it ranks."""

from __future__ import annotations

import logging
import math
import statistics
from dataclasses import dataclass, fields, replace

from asvit.designs.recipe import balance_of, preparation_of, recipe_of, strength_for
from asvit.designs.settings import DesignSettings
from asvit.designs.stages import Entrant, PictureFacts, SearchOutcome, SearchPlan
from asvit.executors import Workers
from asvit.runs.estimate import training_seconds
from asvit.runs.training_pool import with_images
from asvit.search.limits import Limits
from asvit.search.result import SearchResult
from asvit.search.settings import ACCURACY, SearchSettings
from asvit.spaces import SearchSpace, load_space
from asvit.training.recipes import RECIPES

logger = logging.getLogger(__name__)

_FEWEST_TRAININGS = 5  # of a search where time is short
_FEWEST_STEPS = 30  # steps of a training


@dataclass(frozen=True)
class DesignSearch:
    """Settings of the search of a design, by short trainings on its pictures."""

    settings: DesignSettings
    pictures: PictureFacts
    data: str  # the pictures, as the search names them
    workers: Workers | None

    def whole(self, side: int, macs: int | None, epochs: int | None = None) -> SearchSettings:
        """As long as it pays, at a side of images, with the augmentation of so many epochs.

        Its networks have ``macs`` multiply-adds at most.
        """
        s, strength = self.settings, strength_for(epochs, side)
        return SearchSettings(
            space=s.space,
            controller="predictor",
            trainings=s.trainings,
            max_params=s.max_params,
            max_macs=macs,
            width_multiple=s.width_multiple,
            image_size=side,
            data=self.data,
            flip=True,
            **{name: strength[name] for name in ("crop_scale", "shift", "color_jitter")},
            optimizer=RECIPES["small"]["optimizer"],
            balance=balance_of(s, self.pictures),
            device=s.device,
            seed=s.seed,
            **recipe_of(self.pictures),
            **preparation_of(self.pictures),
        )

    def planned(self, plan: SearchPlan) -> SearchSettings:
        """As it was planned."""
        decided = {name: value for name, value in vars(plan).items() if name != "epochs"}
        return replace(self.whole(plan.image_size, plan.max_macs, plan.epochs), **decided)

    def seconds(self, search: SearchSettings) -> float:
        """About how many seconds a search takes on the pictures that there are."""
        return training_seconds(with_images(search, self.pictures.train), self.workers)

    def shortened(self, search: SearchSettings, seconds: float, allowed: float) -> SearchSettings:
        """A search of about so many ``seconds``, cut down to those that are ``allowed``.

        It has fewer trainings, and fewer steps of each.
        """
        part = min(1.0, allowed / seconds)
        wanted = max(_FEWEST_TRAININGS, len(load_space(search.space).by_hand))
        fewer = min(search.trainings, max(wanted, round(search.trainings * math.sqrt(part))))
        steps = round(search.training_steps * part * search.trainings / fewer)
        return replace(search, trainings=fewer, training_steps=max(_FEWEST_STEPS, steps))


def plan_of(search: SearchSettings, epochs: int | None = None) -> SearchPlan:
    """What of a search's settings the time decides, and the epochs of the final training."""
    names = [field.name for field in fields(SearchPlan) if field.name != "epochs"]
    return SearchPlan(**{name: getattr(search, name) for name in names}, epochs=epochs)


def least_seconds(search: SearchSettings, seconds: float) -> float:
    """About how long the shortest search takes, where this one takes so many ``seconds``."""
    steps = min(_FEWEST_TRAININGS, search.trainings) * _FEWEST_STEPS
    return seconds * steps / (search.trainings * search.training_steps)


def default_outcome(space: SearchSpace) -> SearchOutcome:
    """The networks made by hand of a space in its order, where nothing is searched."""
    ranking = [
        Entrant(family=space.family_of(text), architecture=text, by_hand=True)
        for text in space.by_hand
    ]
    return SearchOutcome(ranking=ranking, ranked=False, prediction="", command="")


def search_outcome(result: SearchResult) -> SearchOutcome:
    """The ranking of a search, and the accuracy that it predicts."""
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
        prediction="; ".join(filter(None, (expected, trust))),
        command=result.provenance["command"],
        run_seconds=result.wall_seconds,
    )


def _ranking(result: SearchResult) -> list[Entrant]:
    """The networks of a search, best first: those that it compared in the end, then the others."""
    space = load_space(result.settings.space)
    by_hand = Limits(space, result.settings).by_hand
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
