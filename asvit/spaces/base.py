"""The interface of a search space."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from torch import nn

Choice = int | float | str
#: Each space has its own class of architectures, frozen and hashable, as cached costs require;
#: ``str()`` gives the canonical text.
Architecture = Any


class SearchSpace(ABC):
    """Named categorical dimensions, whose choices determine a network.

    Attributes:
        name: Name on the command line.
        description: One line on what is searched.
        paper: Where it was published.
        prefix: Start of its texts, unique among the spaces; empty for As-ViT.
        architecture: Class of its architectures.
        dimensions: Name of each dimension -> its choices, in order.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    paper: ClassVar[str]
    prefix: ClassVar[str] = ""
    architecture: ClassVar[type]
    dimensions: ClassVar[Mapping[str, tuple[Choice, ...]]]

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(len(choices) for choices in self.dimensions.values())

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture uniformly."""
        return self.decode(
            {
                name: options[rng.integers(len(options))]
                for name, options in self.dimensions.items()
            }
        )

    @abstractmethod
    def encode(self, arch: Architecture) -> dict[str, Choice]:
        """The choice in each dimension: the inverse of :meth:`decode`.

        Raises:
            ValueError: If ``arch`` is not in the space.
        """

    @abstractmethod
    def decode(self, params: Mapping[str, Choice]) -> Architecture:
        """The architecture with these choices.

        Raises:
            ValueError: If a dimension is missing or unknown, or a value is not among its choices.
        """

    @abstractmethod
    def parse(self, text: str) -> Architecture:
        """Parse the text of an architecture of this space, grown or not.

        Raises:
            ValueError: If the text is wrong or the architecture is not in the space.
        """

    def read(self, arch: Architecture | str) -> Architecture:
        """``arch`` as an architecture, parsed if it is a text.

        Raises:
            ValueError: As :meth:`parse`.
        """
        return self.parse(arch) if isinstance(arch, str) else arch

    @abstractmethod
    def build(
        self,
        arch: Architecture | str,
        *,
        image_size: int = 224,
        num_classes: int = 1000,
        depths: Iterable[int] | None = None,
        width: int | None = None,
        drop_path: float = 0.0,
        drop: float = 0.0,
    ) -> nn.Module:
        """A freshly initialised network.

        Args:
            arch: What to build, or its text.
            image_size: Side of the images in pixels.
            num_classes: Classes; 0 for the pooled features.
            depths: Blocks in each stage; None keeps those of the architecture.
            width: Channels of the first stage; None keeps that of the architecture.
            drop_path: Drop-path probability of the last block, on a linear ramp from 0.
            drop: Dropout before the head.

        Raises:
            ValueError: If the text is wrong, depths or width are out of range, or :meth:`check`
                fails.
        """

    @abstractmethod
    def check(self, arch: Architecture | str, image_size: int) -> None:
        """Check that an architecture or text takes square images of this side in pixels.

        Raises:
            ValueError: If it does not; one line that says where and what would be right.
        """

    def check_choices(self, params: Mapping[str, Choice]) -> None:
        """Check that ``params`` has an allowed choice for every dimension.

        Raises:
            ValueError: If it does not; the message names the dimension and its choices.
        """
        for name in params:
            if name not in self.dimensions:
                listed = ", ".join(self.dimensions)
                raise ValueError(f"space {self.name!r} has no dimension {name!r}; it has {listed}")
        for name, choices in self.dimensions.items():
            if name not in params:
                raise ValueError(f"dimension {name} is missing; use one of {list(choices)}")
            if params[name] not in choices:
                raise ValueError(
                    f"{name}={params[name]!r} is not in space {self.name!r}; "
                    f"use one of {list(choices)}"
                )
