"""timm's models by name."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import timm
import torch
from timm.models import PretrainedCfg, get_deprecated_models
from torch import nn

from asvit.core.calls import Value, call_text, parse_call
from asvit.spaces.base import Family
from proxies.evaluation import FAILURES
from proxies.messages import fault, nearest, out_of_memory
from proxies.text import one_line, shown

PREFIX: Final = "timm:"

#: Arguments of timm's models that options set, and a text must not.
_RESERVED: Final = {
    *("num_classes", "img_size", "in_chans", "features_only", "drop_rate", "drop_path_rate"),
    *("scriptable", "exportable", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"),
    *("checkpoint_path", "cache_dir"),
}
_RATES: Final = {"drop_path_rate": "drop-path", "drop_rate": "dropout"}


@dataclass(frozen=True)
class TimmModel:
    """``timm:NAME``, a model of timm's registry, or ``timm:NAME(ARGUMENT=VALUE,...)``."""

    # timm's name of the model. A tag after a dot names pretrained weights, which are never loaded.
    name: str
    # Names and values of arguments of its constructor, in alphabetical order.
    options: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        if not is_timm_model(self.name):
            near = nearest(self.name, timm.list_models())
            hint = f"did you mean {PREFIX + near!r}?" if near else "see asvit list models"
            raise ValueError(f"timm has no model {shown(self.name)}; {hint}")
        for name in _RESERVED & self.arguments.keys():
            raise ValueError(f"{name} in {shown(str(self))} is an option's; leave it out")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text."""
        name, arguments = parse_call(text.removeprefix(PREFIX))
        return cls(name, tuple(sorted(arguments.items())))

    @property
    def arguments(self) -> dict[str, Value]:
        """The arguments of its constructor, by name."""
        return dict(self.options)

    def __str__(self) -> str:
        return PREFIX + call_text(self.name, self.arguments)

    def build(
        self,
        *,
        image_size: int = 224,
        num_classes: int = 1000,
        in_chans: int = 3,
        **rates: float | None,
    ) -> nn.Module:
        """A freshly initialised model; nothing is downloaded. Rates are timm's, None its own."""
        arguments: dict[str, Any] = {"num_classes": num_classes, **self.arguments}
        # Models whose input size timm fixes at construction take it as an argument.
        if timm_config(self.name).fixed_input_size:
            arguments["img_size"] = image_size
        if in_chans != 3:
            arguments["in_chans"] = in_chans
        while True:
            try:
                model: nn.Module = timm.create_model(self.name, **arguments, **rates)
            except Exception as error:
                if out_of_memory(error):
                    raise
                named = isinstance(error, TypeError)
                absent = next((rate for rate in rates if named and f"'{rate}'" in str(error)), "")
                if rates.pop(absent, 1):  # 0 or None is requested where the model has none
                    reason = f"cannot be built for {image_size} px: {fault(error)}"
                    if absent:
                        reason = f"has no {_RATES[absent]}; use 0"
                    elif "in_chans" in str(error):
                        reason = f"takes images of 3 channels alone, not of {in_chans}"
                    raise ValueError(f"{one_line(str(self))} {reason}") from error
            else:
                return model

    @property
    def has_drop_path(self) -> bool:
        """Whether its drop-path can be set."""
        try:
            with torch.device("meta"):  # which not all can be built on
                self.build(drop_path_rate=0.1)
        except FAILURES as error:
            return "has no drop-path" not in str(error)
        return True


class TimmModels(Family):
    """timm's models with their own depths and widths."""

    name, prefix, architecture = "timm", PREFIX, TimmModel
    usual_drop: ClassVar[float | None] = None

    def features(self, arch: TimmModel) -> dict[str, float]:
        """None, as a name has no choices."""
        return {}

    def make_network(self, arch: TimmModel, image_size: int, **options: Any) -> nn.Module:
        return arch.build(image_size=image_size, **options)


def timm_config(name: str) -> PretrainedCfg:
    """The description that timm has of a model; of one that was registered without, defaults."""
    config = timm.get_pretrained_cfg(name)
    if config is None and (current := get_deprecated_models().get(name)):  # its former name
        config = timm.get_pretrained_cfg(current)
    return config or PretrainedCfg()


def is_timm_model(name: str) -> bool:
    """Whether timm can build a model of this name; a tag after a dot must name its weights."""
    if not timm.is_model(name):
        return False
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # timm has no weights with this tag
        return False
    return True
