"""What a search optimises: architectures in, measurements out.

Measures of fresh networks, short trainings, a function of the user and the paths of a supernet are
objectives alike.
"""

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from asvit.search.rows import Evaluate, Measurement
from proxies.evaluation import FAILURES, checked_value
from proxies.messages import fault
from proxies.text import one_line
from scaling.ranking import Directions

#: Architectures and a seed for each to their measurements, in order; the first are ready before
#: the last are begun.
EvaluateAll = Callable[[Sequence[Any], Sequence[int]], Iterable[Measurement]]


@dataclass(frozen=True)
class Objective:
    """What a search optimises."""

    evaluate: EvaluateAll
    better: Directions  #: column to its direction; those with one are optimised
    #: Whether an architecture that is drawn again is evaluated again. The seeds of its draws are
    #: 0, 1, 2, ...; otherwise all are 0.
    repeated: bool = False
    unit: str = "step"  #: what one evaluation is called


def by_function(evaluate: Evaluate, names: Sequence[str]) -> EvaluateAll:
    """A function of the user's that gives the measures ``names`` of a text."""
    try:
        seeded = "seed" in inspect.signature(evaluate).parameters
    except (TypeError, ValueError):  # of some compiled functions
        seeded = False

    def evaluate_all(architectures: Sequence[Any], seeds: Sequence[int]) -> Iterable[Measurement]:
        for arch, seed in zip(architectures, seeds, strict=True):
            yield evaluated(evaluate, str(arch), names, **({"seed": seed} if seeded else {}))

    return evaluate_all


def evaluated(
    evaluate: Evaluate, text: str, names: Sequence[str], **options: object
) -> Measurement:
    """What a function of the user's makes of the architecture of a text.

    Anything that it raises, but for an interrupt, is why the architecture failed, and so is
    anything that it gives but a Measurement with a number for each of the measures ``names``.
    """
    try:
        measurement = evaluate(text, **options)
        params, macs = operator.index(measurement.params), operator.index(measurement.macs)
        values = {name: float(measurement.values[name]) for name in names}
        reasons = {
            name: checked if isinstance(checked, str) else f"the value is {checked}"
            for name, checked in ((name, checked_value(values[name])) for name in names)
            if isinstance(checked, str) or math.isnan(checked)
        }
        reasons |= {str(name): one_line(str(why)) for name, why in measurement.reasons.items()}
    except FAILURES as error:
        none = dict.fromkeys(names, math.nan)
        return Measurement(0, 0, none, dict.fromkeys(names, fault(error)))
    valid = {name: math.nan if name in reasons else value for name, value in values.items()}
    return Measurement(params, macs, valid, reasons)
