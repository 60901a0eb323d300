"""Classes of pictures, matched by name with those that a network knows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proxies.text import listed, one_line

logger = logging.getLogger(__name__)


def match_classes(
    pictures: Sequence[str], network: Sequence[str], *, has_names: bool, data: str, weights: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The place of each class of the pictures among those of the network, and the names of these.

    Of weights that name none, as many folders are taken in their order, and give the names.

    Args:
        pictures: Names of the classes of the pictures.
        network: Names of the classes of the network, or their numbers.
        has_names: Whether the weights name them.
        data: What the pictures are called in messages.
        weights: What the network is called there.

    Raises:
        ValueError: If the network does not know one of them; the message names them.
    """
    places = {name: place for place, name in enumerate(network)}
    unknown = [name for name in pictures if name not in places]
    if not has_names and len(pictures) == len(network) and [*pictures] != [*network]:
        logger.warning(
            "%s does not name its classes; the %d of %s are taken in their order",
            *(weights, len(pictures), data),
        )
        return np.arange(len(network)), tuple(pictures)
    if unknown:
        names = listed(network) if has_names else f"{len(network)} without names"
        raise ValueError(
            f"{one_line(data)} has classes that {one_line(weights)} does not know: "
            f"{listed(unknown)}; it knows {names}"
        )
    return np.array([places[name] for name in pictures], dtype=np.int64), tuple(network)
