"""A base for search spaces of a user's own, whose texts are a prefix and the choices."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from asvit.spaces.base import Choice, SearchSpace
from proxies.text import shown


@dataclass(frozen=True)
class PlainArchitecture:
    """One choice in every dimension of a plain space."""

    prefix: str  # prefix of the space
    choices: tuple[Choice, ...]  # in the order of the dimensions

    def __str__(self) -> str:
        return self.prefix + ",".join(map(str, self.choices))


class PlainSpace(SearchSpace):
    """A space whose texts are its prefix and the choices, such as ``small:2,16,gelu``.

    A subclass sets ``name``, ``description``, ``paper``, ``prefix`` and ``dimensions``, whose
    choices are written in different ways without commas, and builds the network in
    :meth:`network`, which may have an argument ``in_chans``, too. Its architectures can be
    measured, searched, trained and exported, but not grown, since they have no depths and width
    besides their choices.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The class of an architecture identifies its space.
        cls.architecture = type(f"{cls.__name__}Architecture", (PlainArchitecture,), {})

    def network(
        self,
        choices: Mapping[str, Any],
        *,
        image_size: int,
        num_classes: int,
        drop_path: float,
        drop: float,
    ) -> nn.Module:
        """A freshly initialised network.

        Args:
            choices: Dimension -> choice.
            image_size: Side of the images in pixels.
            num_classes: Classes; 0 for the pooled features.
            drop_path: Drop-path probability of the last block.
            drop: Dropout before the head.
        """
        raise NotImplementedError

    def values(self, arch: PlainArchitecture) -> Iterable[Choice]:
        return arch.choices

    def from_values(self, values: Sequence[Choice]) -> PlainArchitecture:
        return cast("PlainArchitecture", self.architecture(self.prefix, tuple(values)))

    def parse(self, text: str) -> PlainArchitecture:
        """As the base says; spaces around choices are fine."""
        words = [word.strip() for word in text.removeprefix(self.prefix).split(",")]
        if not text.startswith(self.prefix) or len(words) != len(self.dimensions):
            raise ValueError(f"{shown(text)} is not {self.prefix}{','.join(self.dimensions)}")
        params: dict[str, Any] = {}
        for (name, choices), word in zip(self.dimensions.items(), words, strict=True):
            params[name] = next((choice for choice in choices if str(choice) == word), word)
        return cast("PlainArchitecture", self.decode(params))

    def make_network(self, arch: PlainArchitecture, image_size: int, **options: Any) -> nn.Module:
        """As the base says, for images of three channels where nothing else is provided for."""
        rates = {"drop_path": options.pop("drop_path_rate"), "drop": options.pop("drop_rate")}
        parameters = inspect.signature(self.network).parameters.values()
        if not any(p.name == "in_chans" or p.kind is p.VAR_KEYWORD for p in parameters):
            channels = options.pop("in_chans")
            if channels != 3:
                raise ValueError(
                    f"space {self.name!r} has networks for images of 3 channels alone, not of "
                    f"{channels}"
                )
        return self.network(self.encode(arch), image_size=image_size, **rates, **options)
