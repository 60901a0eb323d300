"""The values of a design's result, from what its stages came to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asvit.designs.last_round import LastRound
from asvit.designs.result import Model, Racer, predict_command
from asvit.training.short_settings import imbalance


def outcome(last_round: LastRound, folder: Path) -> Mapping[str, Any]:
    """Values of fields of the result, but for those of every run."""
    results = last_round.results
    pictures, search, choice = results.pictures, results.search, results.choice
    test, rival = results.test, choice.by_hand
    timed = results.latency[choice.winner]
    predicting = predict_command(folder)
    stages = [name for name in (*last_round.stages, "training") if results.get(name)]
    trainings = [results.trained(name) for name in stages]
    return {
        **vars(_model(last_round, choice.winner, "training")),
        "hand_made": None if rival is None else _model(last_round, rival, rival),
        "difference": test.difference and test.difference.value,
        "difference_interval": test.difference and test.difference.interval,
        "difference_p": test.difference.p if test.difference else math.nan,
        "race": [
            *(
                Racer(round="search", **vars(entrant))
                for entrant in search.ranking
                if results.plan.trainings
            ),
            *(_finalist(last_round, name) for name in last_round.entrants or [choice.winner]),
        ],
        "ranked": search.ranked,
        "at_chance": last_round.at_chance,
        "prediction": search.prediction,
        "image_size": last_round.side,
        "channels": pictures.channels,
        "pixels": pictures.pixels,
        "fractals": results.epochs.fractals.get(choice.winner, (0, 0))[1],
        "balance": last_round.balance,
        "imbalance": imbalance(pictures.sizes),
        "epochs": results.training.epochs,
        "classes": pictures.classes,
        "train_pictures": pictures.train,
        "test_pictures": test.pictures,
        "unreadable": pictures.unreadable,
        "equal": pictures.equal,
        "plain": pictures.plain,
        "left_out": test.left_out,
        "measured_on": timed.where,
        "int8": results.export.int8,
        "exports": results.export.copies,
        "commands": [
            *filter(None, [search.command]),
            *(one for trained in trainings for one in (*trained.before, trained.command)),
            *results.export.commands,
            predicting,
        ],
        "next_command": predicting,
    }


def _model(last_round: LastRound, name: str, tested: str) -> Model:
    """The network of a finalist, with the accuracy of one of its trainings."""
    results = last_round.results
    if tested not in last_round.entrants:
        tested = "training"
    network, trained = last_round.network(name), results.trained(tested)
    timed = results.latency.get(name)
    accuracy, balanced = results.test.accuracies[tested], results.test.balanced[tested]
    return Model(
        family=network.family,
        architecture=network.architecture,
        params=trained.params,
        macs=trained.macs,
        latency_ms=timed.milliseconds if timed else math.nan,
        pretrained=network.pretrained,
        accuracy=accuracy.value,
        accuracy_interval=accuracy.interval,
        balanced_accuracy=balanced.value,
        balanced_accuracy_interval=balanced.interval,
    )


def _finalist(last_round: LastRound, name: str) -> Racer:
    """A network of the last round, or the only one."""
    choice, network = last_round.results.choice, last_round.network(name)
    if name not in last_round.entrants:
        return Racer(round="none", **vars(network), chosen=True)
    accuracy = last_round.results.test.accuracies[name]
    network = replace(network, validation=choice.accuracies[name])
    return Racer(
        round="last",
        **vars(network),
        accuracy=accuracy.value,
        accuracy_interval=accuracy.interval,
        epochs=last_round.results.trained(name).epochs,
        chosen=name == choice.winner,
    )
