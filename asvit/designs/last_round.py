"""The last round of a design: its networks, trained alike, and which of them wins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from asvit.designs import fractals
from asvit.designs.recipe import VALIDATION_SHARE, balance_of, recipe_of
from asvit.designs.settings import HUB, DesignSettings
from asvit.designs.stages import FINALISTS, PRETRAINED, Entrant, StageResults
from asvit.spaces import load_space

_GUESSING = 0.05  # of the way from guessing to 100 %: no better than that
#: Updates of a training in the last round that tell how a network will end. After 200, a DeiT was
#: 7 points ahead of a ShiftViT on the scattered digits, and 5 behind after 4,000.
_CONCLUSIVE = 1_000
#: Of the time of the final training, with less of which a round tells nothing. On Fashion-MNIST a
#: ShiftViT was 2.8 points ahead of a ResNet after 1.4 % of it, and 1.8 points after 5 %, and
#: behind it in the end.
SHARE_OF_FINAL = 0.1


@dataclass(frozen=True)
class LastRound:
    """The last round, as far as the results of stages tell of it."""

    settings: DesignSettings
    results: StageResults  # of the finished stages, which become more

    # Its networks.

    @property
    def stages(self) -> Sequence[str]:
        """Its stages; one without a network does nothing."""
        pretrained = self.settings.pretrained
        if pretrained is None:
            return FINALISTS
        return (*FINALISTS, *(PRETRAINED if pretrained == HUB else PRETRAINED[:1]))

    @property
    def entrants(self) -> Sequence[str]:
        """Its stages that train a network to choose by; not those where it has dropped out."""
        results, names = self.results, [*self._networks]
        planned = results.epochs.epochs if "epochs" in results else names
        return [name for name in names if name in planned and results.get(name, True)]

    def network(self, name: str) -> Entrant:
        """The network of a stage."""
        return self._networks[name]

    @property
    def side(self) -> int:
        """Side of the images, in pixels."""
        return self.results.finalists.side

    @property
    def _networks(self) -> Mapping[str, Entrant]:
        finalists = self.results.finalists
        return {
            **dict(zip(FINALISTS, finalists.networks, strict=False)),
            **dict(zip(PRETRAINED, finalists.pretrained, strict=False)),
        }

    def begins_with_fractals(self, name: str) -> bool:
        """Whether a network begins with weights of fractals."""
        if name in PRETRAINED:
            return False
        family, pictures = self.network(name).family, self.results.pictures
        return fractals.begins_with_them(self.settings, family, pictures)

    # Its pictures.

    @property
    def validation_share(self) -> float:
        """Share of the pictures to train on that the round is decided by."""
        pictures = self.results.pictures
        return pictures.validation / pictures.train or VALIDATION_SHARE

    @property
    def train_pictures(self) -> int:
        """About how many pictures there are to train on."""
        return max(1, round((1 - self.validation_share) * self.results.pictures.train))

    @property
    def validation_pictures(self) -> float:
        """How many pictures decide.

        For balanced accuracy, as many of even classes as would give the same standard error.
        """
        sizes = self._sizes
        if self.balance == "none":
            return max(1, round(self.validation_share * sum(sizes)))
        validated = [max(1, self.validation_share * size) for size in sizes]
        return len(validated) ** 2 / sum(1 / size for size in validated)

    @property
    def _sizes(self) -> Sequence[int]:
        """Pictures of each class to train on; one number where they are not known."""
        pictures = self.results.pictures
        return pictures.sizes or [pictures.train]

    @property
    def _classes(self) -> int:
        return len(self.results.pictures.classes)

    @property
    def balance(self) -> str:
        """How the trainings balance classes, by which networks are compared, too."""
        return balance_of(self.settings, self.results.pictures)

    # Who wins.

    @property
    def scores(self) -> Mapping[str, float]:
        """Accuracies of the validation pictures, per cent."""
        return {name: self.results.trained(name).validation for name in self.entrants}

    @property
    def winner(self) -> str:
        """The network of the highest accuracy, unless chance may have decided.

        One that is not expected to win has to be better by two standard errors, and far enough
        to tell how it will end: with few pictures chance would choose, and what learns fastest is
        not always best in the end. Where there is nothing to choose by, it is the first that
        was expected to win.
        """
        scores = self.scores
        if not scores:
            return FINALISTS[0]
        expected = [name for name in scores if self._is_expected(self.network(name))]
        if self.at_chance:
            return next(iter(expected or scores))
        leader = max(expected or scores, key=lambda name: scores[name])

        def leads(name: str) -> bool:
            by_chance = 2 * _error(scores[name], scores[leader], self.validation_pictures)
            return scores[name] - scores[leader] > by_chance and self.is_conclusive(name)

        # The first is the one that the search expects most of, should they be equal.
        return max(filter(leads, scores), key=lambda name: scores[name], default=leader)

    @property
    def at_chance(self) -> bool:
        """Whether no network of the last round is better than guessing, about."""
        guessing = self._chance
        most = max(self.scores.values(), default=100.0)
        return most <= guessing + _GUESSING * (100 - guessing)

    @property
    def best_by_hand(self) -> str | None:
        """The network of the highest accuracy of those made by hand."""
        scores = self.scores or {FINALISTS[0]: math.nan}
        by_hand = [name for name in scores if self.network(name).by_hand]
        return max(by_hand, key=lambda name: scores[name], default=None)

    def is_conclusive(self, name: str) -> bool:
        """Whether the accuracy of a network tells how it will end.

        It does if it is nearer to 100 % than to chance, or after many updates.
        """
        trained = self.results.trained(name)
        batch = recipe_of(self.results.pictures)["batch_size"]
        updates = trained.epochs * self.train_pictures / batch
        half = (self._chance + 100) / 2
        return trained.validation >= half or updates >= _CONCLUSIVE

    @property
    def _chance(self) -> float:
        """The accuracy of always answering the largest class, per cent."""
        sizes = [1] * self._classes if self.balance != "none" else self._sizes
        return 100 * max(sizes) / sum(sizes) if len(sizes) > 1 else 100 / self._classes

    def _is_expected(self, network: Entrant) -> bool:
        """Whether a network would be expected to win before the round.

        Of the first family that is the one made by hand, unless the search ranks.
        """
        if network.pretrained:
            return True
        chosen = network.by_hand or self.results.search.ranked
        return chosen and network.family == first_family(self.settings)


def first_family(settings: DesignSettings) -> str:
    """The family that others have to beat: the first of the space with a network by hand."""
    space = load_space(settings.space)
    return space.family_of(space.by_hand[0]) if space.by_hand else ""


def contenders(ranking: Sequence[Entrant], first: str) -> Iterable[Entrant]:
    """The networks of a search, in the order in which the last round takes them.

    The best of all, the one made by hand of the ``first`` family, and the best of another.
    """
    by_hand = [entry for entry in ranking if entry.by_hand]
    by_hand.sort(key=lambda entry: entry.family != first)
    best = [ranking[0], *by_hand[:1]]
    families = {entry.family for entry in best}
    others = [entry for entry in ranking if entry.family not in families]
    order = [*best, *others, *by_hand, *ranking]
    return {entry.architecture: entry for entry in order}.values()


def _error(first: float, second: float, pictures: float) -> float:
    """Standard error of the difference of two accuracies in per cent, of so many pictures each."""
    return math.sqrt(sum(one * (100 - one) for one in (first, second)) / pictures)
