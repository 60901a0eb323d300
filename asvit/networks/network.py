"""The settings that determine a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from asvit.models import convert, merge
from asvit.settings import Settings, check_names, check_whole
from asvit.spaces import build
from asvit.spaces.architectures import canonical

if TYPE_CHECKING:
    from typing import Literal

    from torch import nn

_PARTS = {"attention": "hallucinated", "ffn": "compact"}
# Files with larger values are not from a training: such a network would exceed any memory.
_AT_MOST = {"image_size": 10**4, "num_classes": 10**6, "branches": 100}


@dataclass(frozen=True)
class Network(Settings):
    """An architecture, its converted parts, and the sizes it is built for.

    Attributes:
        architecture: Text of any space or family, or ``"timm:NAME"``; stored in canonical form.
        image_size: Side of the images in pixels.
        num_classes: Classes; 0 for the pooled features.
        attention: ``"hallucinated"``, or None for the architecture's own.
        ffn: ``"compact"``, or None for the architecture's own.
        branches: Branches of a compact part in training; 0 for the merged form, with one linear
            map per factor, and without compact parts.

    Raises:
        ValueError: If the text or a value is wrong.
    """

    architecture: str
    image_size: int = 224
    num_classes: int = 1000
    attention: str | None = None
    ffn: str | None = None
    branches: int = 0

    def __post_init__(self) -> None:
        check_names(self, ("architecture",))
        check_whole(self, {"image_size": 1, "num_classes": 0, "branches": 0})
        for name, most in _AT_MOST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, got {getattr(self, name)}")
        for name, known in _PARTS.items():
            if getattr(self, name) not in (known, None):
                raise ValueError(
                    f"{name} must be {known!r} or nothing, got {getattr(self, name)!r}"
                )
        if self.branches and self.ffn is None:
            raise ValueError(
                f"branches={self.branches} without compact parts; ask for ffn='compact'"
            )
        object.__setattr__(self, "architecture", canonical(self.architecture))

    def build(self, *, drop_path: float | None = None, drop: float | None = None) -> nn.Module:
        """A freshly initialised network; arguments and errors as :func:`asvit.build`.

        Raises:
            ValueError: Also if the architecture cannot be converted.
        """
        model = build(
            self.architecture,
            self.image_size,
            self.num_classes,
            drop_path=drop_path,
            drop=drop,
        )
        if self.attention is None and self.ffn is None:
            return model
        return convert(
            model,
            cast("Literal['hallucinated'] | None", self.attention),
            cast("Literal['compact'] | None", self.ffn),
            branches=self.branches,
            inplace=True,
        )

    def merged(self, model: nn.Module) -> tuple[Network, nn.Module]:
        """The form for inference of a model from :meth:`build`, and its settings.

        Returns:
            Both unchanged if there is nothing to merge.
        """
        if not self.branches:
            return self, model
        return replace(self, branches=0), merge(model)
