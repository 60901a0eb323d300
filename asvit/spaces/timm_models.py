"""timm's models by name."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import timm
import torch
from timm.models import PretrainedCfg, get_deprecated_models
from torch import nn

from asvit.core.calls import Value, call_text, parse_call
from proxies.evaluation import FAILURES
from proxies.messages import fault, nearest, out_of_memory
from proxies.text import one_line, shown

PREFIX: Final = "timm:"

_COMMAND_OPTION = "is an option of the command"
_WEIGHTS_OPTION = "concerns weights, which have options"
#: Arguments of timm's models that a text must not have -> why.
_RESERVED: Final = {
    **dict.fromkeys(("num_classes", "img_size", "in_chans", "features_only"), _COMMAND_OPTION),
    **dict.fromkeys(("drop_rate", "drop_path_rate", "scriptable", "exportable"), _COMMAND_OPTION),
    **dict.fromkeys(("pretrained", "pretrained_cfg", "pretrained_cfg_overlay"), _WEIGHTS_OPTION),
    **dict.fromkeys(("checkpoint_path", "cache_dir"), _WEIGHTS_OPTION),
}


@dataclass(frozen=True)
class TimmModel:
    """``timm:NAME``, a model of timm's registry, or ``timm:NAME(ARGUMENT=VALUE,...)``."""

    prefix: ClassVar[str] = PREFIX

    # timm's name of the model. A tag after a dot names pretrained weights, which are never loaded.
    name: str
    # Names and values of arguments of its constructor, in alphabetical order.
    options: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        if not is_timm_model(self.name):
            near = nearest(self.name, timm.list_models())
            hint = f"did you mean {PREFIX + near!r}?" if near else "see asvit list models"
            raise ValueError(f"timm has no model {shown(self.name)}; {hint}")
        for name, _ in self.options:
            if name in _RESERVED:
                raise ValueError(f"{name} in {shown(str(self))} {_RESERVED[name]}; leave it out")

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

    def features(self) -> dict[str, float]:
        """None, as a name has no choices."""
        return {}

    def build(
        self,
        *,
        image_size: int = 224,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_path: float | None = None,
        drop: float | None = None,
    ) -> nn.Module:
        """A freshly initialised model; nothing is downloaded. None stands for its own rate."""
        # Models whose input size timm fixes at construction take it as an argument.
        arguments: dict[str, Any] = {"num_classes": num_classes, **self.arguments}
        if timm_config(self.name).fixed_input_size:
            arguments["img_size"] = image_size
        if in_chans != 3:
            arguments["in_chans"] = in_chans
        rates = {"drop_path_rate": drop_path, "drop_rate": drop}  # timm drops arguments of None
        while True:
            try:
                model: nn.Module = timm.create_model(self.name, **arguments, **rates)
            except Exception as error:
                unknown = isinstance(error, TypeError)
                absent = next((r for r in rates if unknown and f"'{r}'" in str(error)), None)
                if out_of_memory(error):
                    raise
                if absent is None or rates[absent]:
                    raise self._refusal(error, image_size, in_chans, absent) from error
                del rates[absent]  # 0 is requested, and the model has none
            else:
                return model

    @property
    def has_drop_path(self) -> bool:
        """Whether its drop-path can be set."""
        try:
            with torch.device("meta"):  # which not all can be built on
                self.build(drop_path=0.1)
        except FAILURES as error:
            return "has no drop-path" not in str(error)
        return True

    def _refusal(
        self, error: Exception, image_size: int, in_chans: int, rate: str | None
    ) -> ValueError:
        """What an error of timm's means, which checks neither arguments nor sizes."""
        name = one_line(str(self))
        if rate is not None:
            words = {"drop_path_rate": "drop-path", "drop_rate": "dropout"}[rate]
            return ValueError(f"{name} has no {words}; use 0")
        if "in_chans" in str(error):
            return ValueError(f"{name} takes images of 3 channels alone, not of {in_chans}")
        return ValueError(f"{name} cannot be built for {image_size} px: {fault(error)}")


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
