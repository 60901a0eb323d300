"""A space of a few numbers and measures that cost nothing, in place of networks."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import optuna

from asvit.core.progress import Tell, ignore
from asvit.search import Evaluate, Measurement, SearchSettings, TrialRow, get_controller
from asvit.search.conclusion import Conclusion, conclude_measured
from asvit.search.limits import Limits
from asvit.search.loop import Search
from asvit.search.objective import Objective
from scaling.ranking import Better

BETTER: dict[str, Better] = {"length_distortion": "higher", "ntk_condition_number": "lower"}


class FakeSpace:
    """12 dimensions of three options; an architecture is their tuple."""

    name = "fake"
    description = "for tests"
    dimensions: Mapping[str, tuple[int | float | str, ...]] = {
        f"d{i}": (1, 2, 3) for i in range(12)
    }
    size = 3**12
    branch = ""
    by_hand = ()

    def active(self, params: Mapping[str, object]) -> Mapping[str, object]:
        return self.dimensions

    def decode(self, params: Mapping[str, object]) -> str:
        return ",".join(str(params[name]) for name in self.dimensions)


def fake_evaluate(text: str) -> Measurement:
    """Longer where options are high, better conditioned where they are equal."""
    options = [int(part) for part in text.split(",")]
    length = sum(option * (place + 1) ** 0.5 for place, option in enumerate(options))
    kappa = 10.0 + sum((a - b) ** 2 for a, b in itertools.pairwise(options))
    values = {"length_distortion": length, "ntk_condition_number": kappa}
    return Measurement(sum(options) * 1000, sum(options) * 10**6, values, {})


def failing(names: tuple[str, ...] = ("ntk_condition_number",)) -> Measurement:
    """A measurement in which the measures called ``names`` failed."""
    good = fake_evaluate(",".join("1" * 12))
    values = {name: math.nan if name in names else v for name, v in good.values.items()}
    return Measurement(1, 1, values, dict.fromkeys(names, "the kernel is singular"))


def make_row(number: int = 0, **changes: object) -> TrialRow:
    fields = {
        "number": number,
        "architecture": "8,2,3|4,1,2|4,1,4|4,1,6|32",
        "params": 2_319_624,
        "macs": 123,
        "values": {"length_distortion": 0.1 + 0.2, "ntk_condition_number": 1e300},
        "reward": -0.25,
        "entropy": 15.33,
        "state": "complete",
        "reason": "",
        **changes,
    }
    return TrialRow(**fields)


def make_search(
    study: optuna.Study | None = None,
    evaluate: Evaluate = fake_evaluate,
    better: Mapping[str, Better] = BETTER,
    **settings: Any,
) -> Search:
    """A search of 12 steps, or of other settings; in memory unless a study is given."""
    if study is None:
        ways = [w for w in better.values() if w != "reported"]
        study = optuna.create_study(
            directions=["maximize" if way == "higher" else "minimize" for way in ways]
        )
    own = SearchSettings.make(**{"steps": 12, "proxies": tuple(better), **settings})
    space = FakeSpace()
    return Search(
        study,
        space,
        Objective(lambda architectures, _seeds: map(evaluate, map(str, architectures)), better),
        get_controller(own.controller).make(space.dimensions, better, own),
        trials=own.trials,
        batch=own.batch,
        limits=Limits(space, own),
    )


def conclude(
    search: Search,
    tell: Tell = ignore,
    again: Evaluate | None = None,
    **settings: Any,
) -> Conclusion:
    """The end of such a search."""
    fresh = None if again is None else lambda found, _seeds: map(again, map(str, found))
    settings_ = SearchSettings.make(**settings)
    return conclude_measured(search, search.limits, settings_, tell, again=fresh)
