"""The setting of how uneven classes are trained on, shared by all runs that train."""

from __future__ import annotations

from typing import Any, Final

from asvit.core.settings import setting

BALANCES: Final = ("none", "weights", "sampling")

#: Times as many images as the smallest class the largest has, from which on classes are uneven.
UNEVEN: Final = 3.0

#: What is done, in words.
IN_WORDS: Final = {
    "weights": "the loss weighs classes as if they had equally many images",
    "sampling": "every epoch has equally many images of each class",
}


def balance_setting(**options: Any) -> Any:
    """The setting ``balance`` of runs that train."""
    return setting(
        "none",
        "For uneven classes: weights in the loss, or sampling equally many images of each; "
        "networks and epochs are then compared by balanced accuracy.",
        choices=BALANCES,
        **options,
    )
