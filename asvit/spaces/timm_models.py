"""timm's models by name, and its own networks as search spaces: a table of families."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Self, cast

import timm
import torch
from timm.models import PretrainedCfg, get_deprecated_models
from torch import nn

from asvit.architectures.base import DEPTH_CHOICES, Field, Growable, checked_choice
from asvit.architectures.psvit_path import patches_of
from asvit.core.calls import Value, call_text, parse_call
from asvit.spaces.base import Choice, Family, SearchSpace, size_features
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


Depths = tuple[int, ...]
Arguments = Mapping[str, Value]

_PYRAMID: Final = (1, 2, 4, 8)  # channels of the stages over those of the first
_WIDEST: Final = 4096


@dataclass(frozen=True)
class TimmFamily:
    """How width and depths of a family enter ``timm.create_model``."""

    model: str  #: timm's name of the network whose arguments are set
    title: str  #: what it is, in a line
    paper: str  #: where it was published
    #: Arguments with the channels and with the blocks of the stages, or of all.
    sizes: tuple[str, str]
    depths: tuple[Depths, ...]  #: choices of the blocks of each stage
    by_hand: tuple[Choice, ...]  #: the choices of a published network: depths, then options
    #: Channels of the stages over the width; empty where all have the same.
    factors: tuple[int, ...] = _PYRAMID
    #: Further arguments and their choices.
    options: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)
    others: Callable[[int], Arguments] = lambda _width: {}  #: arguments that the width implies
    multiple: int = 1  #: what the width is a multiple of
    least: int = 32  #: smallest image, in pixels
    #: timm's names of published weights for images with ImageNet's mean and std.
    pretrained: Sequence[str] = ()


def _heads(width: int, least: int = 8) -> int:
    """As many attention heads as leave each ``least`` channels, and that divide the width."""
    return next(n for n in range(max(width // least, 1), 0, -1) if width % n == 0)


_RESNET: Final = TimmFamily(
    model="resnet10t",
    title="residual networks of two 3 x 3 convolutions",
    paper="ResNet, arXiv:1512.03385",
    sizes=("channels", "layers"),
    depths=((1, 2), (1, 2), (1, 2, 3), (1, 2)),
    by_hand=(1, 1, 1, 1),
    others=lambda width: {"stem_width": max(4, width // 2 // 4 * 4)},
    pretrained=(
        *("resnet10t.c3_in1k", "resnet14t.c3_in1k", "resnet18.a1_in1k"),
        *("resnet26t.ra2_in1k", "resnet34.a1_in1k", "resnet50.a1_in1k"),
    ),
)

#: Name of the space -> the family.
TIMM_FAMILIES: Final[Mapping[str, TimmFamily]] = {
    "resnet": _RESNET,
    "resnet-parts": replace(
        _RESNET,
        title="residual networks with SiLU and stems twice as wide",
        paper="ResNet, arXiv:1512.03385; SiLU, arXiv:1710.05941",
        others=lambda width: {"act_layer": "silu", "stem_width": max(4, width)},
        pretrained=(),
    ),
    "resnet-small": TimmFamily(
        model="small_resnet",
        title="residual networks for pictures of up to 64 px: one convolution as the stem",
        paper="ResNet, arXiv:1512.03385; SiLU, arXiv:1710.05941",
        sizes=("channels", "layers"),
        depths=((1, 2), (1, 2), (1, 2), (1, 2)),
        options={"stem_stride": (1, 2)},
        by_hand=(1, 1, 1, 1, 1),
        others=lambda width: {"act_layer": "silu", "stem_width": width},
        multiple=2,
        least=16,
    ),
    "mobilenet": TimmFamily(
        model="mobilenetv3_small_scaled",
        title="inverted bottlenecks of depthwise convolutions",
        paper="MobileNetV3, arXiv:1905.02244",
        sizes=("width", "depths"),
        factors=(),
        depths=((2, 3), (2, 3, 4), (1, 2, 3), (1, 2, 3)),
        by_hand=(2, 3, 2, 3),
        pretrained=(
            *("mobilenetv3_small_050.lamb_in1k", "mobilenetv3_small_075.lamb_in1k"),
            *("mobilenetv3_small_100.lamb_in1k", "mobilenetv3_large_100.ra_in1k"),
        ),
    ),
    "convnext": TimmFamily(
        model="convnext_atto",
        title="depthwise 7 x 7 convolutions and a feed-forward part",
        paper="ConvNeXt, arXiv:2201.03545",
        sizes=("dims", "depths"),
        depths=((1, 2, 3), (1, 2, 3), (2, 4, 6), (1, 2, 3)),
        options={"stem_type": ("patch", "overlap_tiered")},
        by_hand=(2, 2, 6, 2, "patch"),
        pretrained=(
            *("convnext_atto.d2_in1k", "convnext_femto.d1_in1k", "convnext_pico.d1_in1k"),
            *("convnext_nano.in12k_ft_in1k", "convnext_tiny.in12k_ft_in1k"),
        ),
    ),
    "repvit": TimmFamily(
        model="repvit_m0_9",
        title="MobileNetV3-like blocks in the shape of a ViT",
        paper="RepViT, arXiv:2307.09283",
        sizes=("embed_dim", "depth"),
        depths=((1, 2), (1, 2), (2, 4, 8, 14), (1, 2)),
        by_hand=(2, 2, 14, 2),
        multiple=2,
        pretrained=(
            *("repvit_m0_9.dist_450e_in1k", "repvit_m1_0.dist_450e_in1k"),
            *("repvit_m1_1.dist_450e_in1k", "repvit_m1_5.dist_450e_in1k"),
        ),
    ),
    "starnet": TimmFamily(
        model="starnet_s1",
        title="depthwise convolutions and products of two maps",
        paper="StarNet, arXiv:2403.19967",
        sizes=("base_dim", "depths"),
        factors=(),
        depths=((1, 2), (1, 2), (2, 4, 8), (1, 2, 3)),
        by_hand=(2, 2, 8, 3),
        pretrained=("starnet_s1.in1k", "starnet_s2.in1k", "starnet_s3.in1k", "starnet_s4.in1k"),
    ),
    "swin": TimmFamily(
        model="swin_tiny_patch4_window7_224",
        title="attention in shifted windows, positions as biases",
        paper="Swin, arXiv:2103.14030",
        sizes=("embed_dim", "depths"),
        factors=(),
        depths=((1, 2), (1, 2), (2, 4, 6), (1, 2)),
        options={"window_size": (4, 8)},
        by_hand=(2, 2, 6, 2, 4),
        others=lambda width: {"num_heads": tuple(f * _heads(width) for f in _PYRAMID)},
        multiple=2,
        pretrained=(
            *("swin_tiny_patch4_window7_224.ms_in1k", "swin_small_patch4_window7_224.ms_in1k"),
        ),
    ),
    "deit": TimmFamily(
        model="deit_tiny_patch16_224",
        title="plain vision transformers",
        paper="DeiT, arXiv:2012.12877",
        sizes=("embed_dim", "depth"),
        factors=(),
        depths=((3, 4, 6, 8, 12),),
        options={"patch_size": (4, 8, 16)},
        by_hand=(12, 8),
        others=lambda width: {"num_heads": _heads(width, 16)},
        multiple=4,
        pretrained=(
            *("deit_tiny_patch16_224.fb_in1k", "deit_small_patch16_224.fb_in1k"),
            "deit_base_patch16_224.fb_in1k",
        ),
    ),
}


@dataclass(frozen=True)
class TimmArchitecture(Growable):
    """A network of a family of timm's: ``timm:NAME(ARGUMENT=VALUE,...)``."""

    family: ClassVar[TimmFamily]

    depths: Depths
    width: int
    options: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        f, stages = self.family, len(self.family.depths)
        depths = Field(f"depth of {f.model}", DEPTH_CHOICES, range(stages, stages + 1))
        width = checked_choice(f"width of {f.model}", self.width, range(f.multiple, _WIDEST + 1))
        options = {name: choices[0] for name, choices in f.options.items()} | dict(self.options)
        object.__setattr__(self, "depths", depths.checked(self.depths))
        object.__setattr__(self, "width", width // f.multiple * f.multiple)
        object.__setattr__(self, "options", tuple(sorted(options.items())))

    @property
    def model(self) -> TimmModel:
        """The model of timm's registry with its arguments."""
        f = self.family
        width, depth = f.sizes
        arguments: Arguments = {
            width: tuple(n * self.width for n in f.factors) if f.factors else self.width,
            depth: self.depths if len(self.depths) > 1 else self.depths[0],
            **f.others(self.width),
            **dict(self.options),
        }
        return TimmModel(f.model, tuple(sorted(arguments.items())))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text; its arguments have to be those of a width and depths."""
        f, prefix = cls.family, f"{PREFIX}{cls.family.model}("
        if text.startswith(prefix):
            model = TimmModel.parse(text)
            sizes: Any = [model.arguments.get(name, ()) for name in f.sizes]
            widths, depths = (size if isinstance(size, tuple) else (size,) for size in sizes)
            options = [(name, model.arguments.get(name)) for name in f.options]
            # Options of another type, such as a window of two sides, have no feature.
            alike = all(type(value) is type(f.options[name][0]) for name, value in options)
            if widths and depths and alike and {*map(type, (*widths, *depths))} == {int}:
                arch = cls(depths, widths[0], cast("Any", tuple(options)))
                if arch.model == model:
                    return arch
        example = cls(tuple(choices[0] for choices in f.depths), 6 * f.multiple)
        raise ValueError(f"{shown(text)} is not {prefix}...) as in {example}")

    def __str__(self) -> str:
        """The canonical text."""
        return str(self.model)

    def check(self, image_size: int) -> None:
        """Refuse small images, and those that patches do not fill, which timm would cut off."""
        patch: Any = dict(self.options).get("patch_size")
        if image_size < self.family.least:
            raise ValueError(
                f"{self.family.model} takes images of {self.family.least} px or more, not "
                f"{image_size}"
            )
        if patch:
            patches_of(image_size, patch)


class TimmSpace(SearchSpace):
    """The networks of a family; the width is that of a limit."""

    def __init__(self, name: str, family: TimmFamily) -> None:
        own = cast("Any", self)
        own.name, own.family = name, family
        own.description, own.paper = family.title, family.paper
        own.prefix = f"{PREFIX}{family.model}("
        own.dimensions = {f"L{i}": depths for i, depths in enumerate(family.depths, 1)}
        own.dimensions |= family.options
        kind = f"{name.title().replace('-', '')}Architecture"
        own.architecture = type(
            kind, (TimmArchitecture,), {"family": family, "width_step": family.multiple}
        )

    @property
    def by_hand(self) -> Sequence[str]:  # type: ignore[override]
        """The published network of the family."""
        return (str(self.from_values(self.architecture.family.by_hand)),)

    def values(self, arch: TimmArchitecture) -> Iterable[Choice]:
        options: dict[str, Any] = dict(arch.options)
        return (*arch.depths, *(options[name] for name in arch.family.options))

    def from_values(self, values: Sequence[Any]) -> TimmArchitecture:
        family: TimmFamily = self.architecture.family
        stages = len(family.depths)
        options = tuple(zip(family.options, values[stages:], strict=True))
        arch: TimmArchitecture = self.architecture(tuple(values[:stages]), 32, options)
        return arch

    def features(self, arch: TimmArchitecture) -> dict[str, float]:
        """As the base says; with the number of blocks and the width."""
        return super().features(arch) | size_features(sum(arch.depths), arch.width)

    def make_network(self, arch: TimmArchitecture, image_size: int, **options: Any) -> nn.Module:
        return arch.model.build(image_size=image_size, **options)
