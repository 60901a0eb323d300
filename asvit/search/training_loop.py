"""The loop of a search by short trainings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from optuna.trial import Trial

from asvit.core.progress import Progress
from asvit.reference.findings import LEAST_TRAININGS
from asvit.search.front import BEST
from asvit.search.loop import Search
from asvit.search.rows import Finalist, Measurement
from asvit.search.sampler import trials_before
from asvit.search.settings import ACCURACY, FINALISTS, PREDICTOR, TrainingSearchSettings
from asvit.search.study import storing
from asvit.search.trained import (
    AGAIN,
    FRESH,
    TRAINING,
    WITH_SEED,
    Accuracies,
    MakePredictor,
    Trained,
    check_predictor,
    finalists_of,
    gathered,
    tradeoff,
    trained_again,
    trained_before,
    training_seeds,
)
from asvit.spaces.base import Architecture

Retrainings = Mapping[str, Mapping[int, Measurement]]  # with fresh seeds, by text and by seed


class TrainingSearch(Search):
    """As the base; ``evaluate`` is given ``seeds``, too: the training seed of each architecture.

    An architecture may be trained several times, each time with another seed.
    """

    unit: ClassVar = "training"

    settings: TrainingSearchSettings  # type: ignore[assignment]  # which has no measures

    @property
    def _after(self) -> float:
        """As the base does; each of the finalists is trained again."""
        return float(FINALISTS * self.settings.final_trainings)

    def conclude(self) -> Iterable[Progress]:
        """Train two finalists again, and choose :attr:`seed`: the one predicted better.

        With too few that did not fail for a predictor, it is the one of the higher mean, and with
        too few trainings to train again the best of all.
        :attr:`finalists`, :attr:`tradeoff` and :attr:`check` have what they come to.
        """
        again: Retrainings = {}
        if self.settings.final_trainings:
            best = self._within_latency(self._best(self._ranked(again)[0]))
            architectures = [self.space.parse(entry.architecture) for entry in best[:FINALISTS]]
            texts = {str(self.limits.network(arch)): arch for arch in architectures}
            yield from self._train_again(texts)
            # Those that a shorter search ended in are not among them.
            records = trained_again(self.study)
            again = {text: of for text, of in records.items() if text in texts}
        ranked, make, accuracies = self._ranked(again)
        self.retrainings = sum(map(len, again.values()))
        self.tradeoff = tradeoff(ranked)
        self.finalists = self._best(ranked)
        if not self.finalists:
            what = "a training of every architecture" if self._history.any_valid else ""
            raise ValueError(self._failure_message(what))
        if make is not None:
            self.check = check_predictor(make, accuracies, seed=self.settings.seed)
        self.seed = self._within_latency(self.finalists)[0]

    def _best(self, ranked: Sequence[Finalist]) -> Sequence[Finalist]:
        """The first of them with their latencies."""
        return [
            replace(entry, latency=self.latency(self.space.parse(entry.architecture)))
            for entry in ranked[:BEST]
        ]

    def _ranked(
        self, again: Retrainings
    ) -> tuple[list[Finalist], MakePredictor | None, Accuracies]:
        """The finalists, best first, the predictor that ranks them, and what it is fitted to."""
        from asvit.predictor import Predictor  # scikit-learn, which other searches do not need

        trained, make = self._trained(again), None
        accuracies = {text: row.accuracies for text, row in trained.items() if not row.reason}
        enough = sum(map(len, accuracies.values())) >= LEAST_TRAININGS
        if self.settings.controller == PREDICTOR and enough:
            make = partial(Predictor, self.settings.image_size, per_cent=True)
        ranked = [  # rows of a table may be outside the limits, and tell the predictor as much
            row
            for row in finalists_of(trained, make, _fresh(again))
            if self.limits.excess(self.space.parse(row.architecture)) is None
        ]
        return ranked, make, accuracies

    def _trained(self, again: Retrainings) -> Mapping[str, Trained]:
        """All that was trained, by the texts of the networks."""
        before = trained_before(self.study)
        return gathered(self.rows, before, self.space, self.limits, again)

    def _train_again(self, texts: Mapping[str, Architecture]) -> Iterator[Progress]:
        """Train finalists with fresh seeds; the study keeps each training at once."""
        before = trained_before(self.study)
        wanted = {
            f"{text}{WITH_SEED}{seed}": (arch, seed)
            for place in range(self.settings.final_trainings)
            for text, arch in texts.items()
            for seed in (FRESH + len(before.get(text, ())) + place,)
        }

        def train(missing: Sequence[tuple[Architecture, int]]) -> Iterable[Measurement]:
            architectures, seeds = zip(*missing, strict=True)
            return self.evaluate(architectures, seeds=seeds)

        yield from self._again(AGAIN, wanted, train)

    def _measure(
        self, trials: Sequence[Trial], architectures: Sequence[Architecture]
    ) -> Iterable[Measurement]:
        """The accuracy of each architecture in order; the study keeps the training seeds."""
        attributes = (trial.user_attrs for trial in trials_before(self.study, trials[0]))
        others = [tuple(values[TRAINING]) for values in attributes if TRAINING in values]
        texts = [str(self.limits.network(arch)) for arch in architectures]
        seeds = training_seeds(texts, others, trained_before(self.study))
        with storing():
            for trial, text, seed in zip(trials, texts, seeds, strict=True):
                trial.set_user_attr(TRAINING, [text, seed])
        return self.evaluate(architectures, seeds=seeds)


def _fresh(again: Retrainings) -> Accuracies:
    """The accuracies of the trainings with fresh seeds."""
    return {
        text: [entry.values[ACCURACY] for entry in records.values()]
        for text, records in again.items()
    }
