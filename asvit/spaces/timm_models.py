"""timm's models as architectures: the text ``timm:NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import timm
from torch import nn

from proxies.messages import first_line, nearest, shown

PREFIX = "timm:"


@dataclass(frozen=True)
class TimmModel:
    """``timm:NAME``: a model of timm's registry.

    Attributes:
        name: timm's name of the model. A tag after a dot names pretrained weights, which are
            never loaded.

    Raises:
        ValueError: If timm has no such model; the message has the nearest name.
    """

    prefix: ClassVar[str] = PREFIX

    name: str

    def __post_init__(self) -> None:
        if not is_timm_model(self.name):
            near = nearest(self.name, timm.list_models())
            hint = f"did you mean {PREFIX + near!r}?" if near else "see asvit list models"
            raise ValueError(f"timm has no model {shown(self.name)}; {hint}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``timm:NAME``.

        Raises:
            ValueError: If timm has no such model.
        """
        return cls(text.removeprefix(PREFIX))

    def __str__(self) -> str:
        return PREFIX + self.name

    def build(
        self,
        *,
        image_size: int = 224,
        num_classes: int = 1000,
        drop_path: float | None = None,
        drop: float | None = None,
    ) -> nn.Module:
        """A freshly initialised model; nothing is downloaded.

        Args:
            image_size: Side of the images in pixels.
            num_classes: Classes; 0 for the pooled features.
            drop_path: Drop-path probability of the last block; None for the model's default.
            drop: Dropout before the head; None for the model's default.

        Raises:
            ValueError: If the model cannot take images of this size, or has no drop-path or
                dropout.
        """
        config = timm.get_pretrained_cfg(self.name)
        # Models whose input size timm fixes at construction take it as an argument.
        size = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
        rates = {"drop_path_rate": drop_path, "drop_rate": drop}  # timm drops arguments of None
        try:
            model: nn.Module = timm.create_model(
                self.name, num_classes=num_classes, **size, **rates
            )
        except (ArithmeticError, AssertionError, LookupError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "negative dimension" not in str(error):
                raise
            raise ValueError(
                f"timm model {self.name!r} cannot take {image_size} px: {first_line(error)}"
            ) from error
        except TypeError as error:
            missing = next((rate for rate in rates if f"'{rate}'" in str(error)), None)
            if missing is None:
                raise
            if rates[missing]:
                words = {"drop_path_rate": "drop-path", "drop_rate": "dropout"}[missing]
                raise ValueError(f"timm model {self.name!r} has no {words}; use 0") from error
            rates[missing] = None  # 0 was asked for, and the model has none
            model = timm.create_model(self.name, num_classes=num_classes, **size, **rates)
        return model


def is_timm_model(name: str) -> bool:
    """Whether timm can build a model of this name; a tag after a dot must name its weights."""
    if not timm.is_model(name):
        return False
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # timm has no weights with this tag
        return False
    return True
