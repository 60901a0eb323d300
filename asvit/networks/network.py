"""The settings that determine a network."""

from dataclasses import replace
from functools import partial
from typing import Any, Self

from torch import nn

from asvit.core.calls import call_text, parse_call
from asvit.core.settings import Settings, setting, settings_class
from asvit.data.kinds import MOST_CHANNELS, PICTURES
from asvit.models import HALLUCINATED_HOSTS, convert, merge
from asvit.models.blocks import check_choice
from asvit.spaces import build
from asvit.spaces.architectures import canonical
from asvit.spaces.timm_models import PREFIX, TimmModel
from proxies.text import shown

#: Kind of converted part -> its settings in :func:`asvit.convert`.
_PART_SETTINGS = {
    "hallucinated": ("heads", "maps", "kept"),
    "compact": ("ratio", "factored"),
}
_NUMBERS = ("kept", "ratio")  # of these settings


def _part(setting_name: str, kind: str, text: Any) -> str:
    """The text of a converted part in its canonical form."""
    name, arguments = parse_call(text) if isinstance(text, str) else (text, {})
    if name != kind:
        raise ValueError(f"{setting_name} must be {kind}, got {shown(str(text))}")
    for argument, value in arguments.items():
        check_choice(f"a setting of {kind}", argument, _PART_SETTINGS[kind])
        if argument in _NUMBERS and not isinstance(value, int | float):
            raise ValueError(
                f"{argument}={shown(str(value))} of {kind} is not a number, such as 0.75"
            )
    return call_text(name, arguments)


@settings_class
class Network(Settings):
    """An architecture, its converted parts, and the sizes it is built for.

    Files with larger values than these are not from a training: such a network would exceed any
    memory.

    Raises:
        ValueError: If the text or a value is wrong.
    """

    architecture: str = setting(
        ..., 'Text of any space or family, or "timm:NAME"; stored in canonical form.'
    )
    image_size: int = setting(
        224, "Side of the square images, in pixels.", at_least=1, at_most=10**4
    )
    num_classes: int = setting(
        1000, "Classes; 0 for the pooled features.", at_least=0, at_most=10**6
    )
    in_chans: int = setting(
        PICTURES.channels, "Channels of the images.", at_least=1, at_most=MOST_CHANNELS
    )
    attention: str | None = setting(
        None,
        "hallucinated, or hallucinated(maps=copy,kept=0.25) with settings of asvit.convert; by "
        "default the architecture's own.",
        convert=partial(_part, "attention", "hallucinated"),
    )
    ffn: str | None = setting(
        None,
        "compact, or compact(ratio=0.75,factored=first) in the same way; by default the "
        "architecture's own.",
        convert=partial(_part, "ffn", "compact"),
    )
    branches: int = setting(
        0,
        "Branches of a compact part in training; 0 for the merged form, with one linear map per "
        "factor, and without compact parts.",
        at_least=0,
        at_most=100,
    )

    def check(self) -> None:
        """Refuse branches without compact parts, and put the text in its canonical form."""
        if self.branches and self.ffn is None:
            raise ValueError(
                f"branches={self.branches} without compact parts; ask for ffn='compact'"
            )
        object.__setattr__(self, "architecture", canonical(self.architecture))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of an image."""
        return (self.in_chans, self.image_size, self.image_size)

    def build(self, *, drop_path: float | None = None, drop: float | None = None) -> nn.Module:
        """A freshly initialised network; arguments and errors as :func:`asvit.build`.

        Raises:
            ValueError: Also if the architecture cannot be converted.
        """
        sizes = (self.image_size, self.num_classes)
        options: Any = {"in_chans": self.in_chans, "drop_path": drop_path, "drop": drop}
        return self.converted(build(self.architecture, *sizes, **options))

    def converted(self, model: nn.Module) -> nn.Module:
        """``model``, of this architecture, with the converted parts; it is modified.

        Raises:
            ValueError: If it cannot be converted.
        """
        if self.attention is None and self.ffn is None:
            return model
        parts: dict[str, Any] = {}
        for part, text in (("attention", self.attention), ("ffn", self.ffn)):
            if text is not None:
                parts[part], arguments = parse_call(text)
                parts |= arguments
        return convert(model, **parts, branches=self.branches, inplace=True)

    def merged(self, model: nn.Module) -> tuple[Self, nn.Module]:
        """The form for inference of a model from :meth:`build`, and its settings.

        Both are unchanged if there is nothing to merge.
        """
        text = self.architecture
        if text.startswith(PREFIX):
            named = TimmModel.parse(text)
            if named.name in HALLUCINATED_HOSTS and named.arguments.get("ffn", True):
                options = {**named.arguments, "branches": 0}  # 2 by default
                text = str(TimmModel(named.name, tuple(options.items())))
        merged = replace(self, architecture=text, branches=0)
        return (self, model) if merged == self else (merged, merge(model))
