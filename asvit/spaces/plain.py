"""Base of user-defined search spaces: choices, and the network they describe."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from asvit.spaces.base import Choice, SearchSpace
from proxies.messages import shown


@dataclass(frozen=True)
class PlainArchitecture:
    """One choice in every dimension of a plain space.

    Attributes:
        prefix: Prefix of the space.
        choices: In the order of the dimensions.
    """

    prefix: str
    choices: tuple[Choice, ...]

    def __str__(self) -> str:
        return self.prefix + ",".join(str(choice) for choice in self.choices)


class PlainSpace(SearchSpace):
    """A space whose texts are its prefix and the choices, such as ``small:2,16,gelu``.

    A subclass sets ``name``, ``description``, ``paper``, ``prefix`` and ``dimensions``, and builds
    the network in :meth:`network`. Its architectures can be measured, searched, trained and
    exported, but not grown, since they have no depths and width besides their choices.

    Raises:
        ValueError: If the prefix does not end in a colon, or two choices of one dimension have the
            same text.
    """

    architecture: ClassVar[type] = PlainArchitecture

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The class of an architecture identifies its space.
        cls.architecture = type(f"{cls.__name__}Architecture", (PlainArchitecture,), {})

    def __init__(self) -> None:
        if not self.prefix[:-1] or not self.prefix.endswith(":"):
            raise ValueError(
                f"space {self.name!r} has the prefix {self.prefix!r}; use a word and a colon"
            )
        self._choices: dict[str, dict[str, Choice]] = {}
        for name, choices in self.dimensions.items():
            texts = {str(choice): choice for choice in choices}
            if len(texts) < max(len(choices), 1) or any("," in text for text in texts):
                raise ValueError(
                    f"dimension {name} of space {self.name!r} has the choices {list(choices)}; "
                    "use at least one, of different texts without commas"
                )
            self._choices[name] = texts

    @abstractmethod
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

    def values(self, arch: PlainArchitecture) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        if len(arch.choices) != len(self.dimensions):
            raise ValueError(f"{arch} is not {self._form}")
        return arch.choices

    def from_values(self, values: Sequence[Choice]) -> PlainArchitecture:
        """See :meth:`SearchSpace.from_values`."""
        made: PlainArchitecture = self.architecture(self.prefix, tuple(values))
        return made

    def parse(self, text: str) -> PlainArchitecture:
        """See :meth:`SearchSpace.parse`; spaces around choices are fine."""
        parts = [part.strip() for part in text.removeprefix(self.prefix).split(",")]
        if not text.startswith(self.prefix) or len(parts) != len(self.dimensions):
            raise ValueError(f"{shown(text)} is not {self._form}")
        for (name, known), part in zip(self._choices.items(), parts, strict=True):
            if part not in known:
                raise ValueError(
                    f"{name}={shown(part)} in {shown(text)} is not in space {self.name!r}; "
                    f"use one of {', '.join(known)}"
                )
        return self.from_values(
            [known[part] for known, part in zip(self._choices.values(), parts, strict=True)]
        )

    def build(self, arch: PlainArchitecture | str, **sizes: Any) -> nn.Module:
        """See :meth:`SearchSpace.build`; depths and width cannot be given."""
        if sizes.get("depths") is not None or sizes.get("width") is not None:
            raise ValueError(f"{self.read(arch)} has its own depths and width; leave both out")
        return super().build(arch, **sizes)

    def make_network(self, arch: PlainArchitecture, image_size: int, **options: Any) -> nn.Module:
        """See :meth:`SearchSpace.make_network`."""
        return self.network(
            self.encode(arch),
            image_size=image_size,
            num_classes=options["num_classes"],
            drop_path=options["drop_path_rate"],
            drop=options["drop_rate"],
        )

    def check(self, arch: PlainArchitecture | str, image_size: int) -> None:
        """See :meth:`SearchSpace.check`; accepts any size unless a subclass overrides it."""
        self.read(arch)

    @property
    def _form(self) -> str:
        """The form of a text, for messages."""
        return self.prefix + ",".join(self.dimensions)
