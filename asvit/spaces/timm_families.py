"""timm's own networks as search spaces: one entry of a table for each family."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Self

from torch import nn

from asvit.architectures.base import DEPTH_CHOICES, Growable, Values, checked_choice
from asvit.architectures.psvit_path import patches_of
from asvit.core.calls import Value
from asvit.spaces.base import SPACES, Choice, SearchSpace, size_features
from asvit.spaces.timm_models import PREFIX, TimmModel
from proxies.text import shown

Depths = tuple[int, ...]
Arguments = Mapping[str, Value]

_PYRAMID: Final = (1, 2, 4, 8)  # channels of the stages over those of the first
_WIDEST: Final = 4096

_LEGEND: Final = {
    "stem_stride": "pixels along one side for each position of the first stage",
    "stem_type": "a patch of 4 x 4 pixels, or two overlapping convolutions, makes a token",
    "window_size": "tokens along one side of an attention window",
    "patch_size": "pixels along one side of a patch",
}


@dataclass(frozen=True)
class TimmFamily:
    """How width and depths of a family enter ``timm.create_model``.

    Attributes:
        model: timm's name of the network whose arguments are set.
        width: Argument with the channels of the stages, or with those of all blocks.
        depth: Argument with the blocks of the stages, or with all blocks.
        depths: Choices of the blocks of each stage.
        by_hand: The choices of a published network: depths, then options.
        title: What it is, in a line.
        paper: Where it was published.
        factors: Channels of the stages over the width; empty where all have the same.
        options: Further arguments and their choices.
        others: Arguments that follow from width and options.
        multiple: What the width is a multiple of.
        least: Smallest image, in pixels.
        pretrained: timm's names of published weights for images with ImageNet's mean and std.
    """

    model: str
    width: str
    depth: str
    depths: tuple[Depths, ...]
    by_hand: tuple[Choice, ...]
    title: str
    paper: str
    factors: tuple[int, ...] = _PYRAMID
    options: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)
    others: Callable[[int], Arguments] = lambda _width: {}
    multiple: int = 1
    least: int = 32
    pretrained: tuple[str, ...] = ()

    def arguments(self, width: int, depths: Depths, options: Arguments) -> Arguments:
        """The arguments of timm's constructor."""
        return {
            self.width: tuple(f * width for f in self.factors) if self.factors else width,
            self.depth: depths if len(self.depths) > 1 else depths[0],
            **self.others(width),
            **options,
        }


def _heads(width: int, least: int = 8) -> int:
    """As many attention heads as leave each ``least`` channels, and that divide the width."""
    return next(n for n in range(max(width // least, 1), 0, -1) if width % n == 0)


_RESNET: Final = TimmFamily(
    model="resnet10t",
    width="channels",
    depth="layers",
    depths=((1, 2), (1, 2), (1, 2, 3), (1, 2)),
    by_hand=(1, 1, 1, 1),
    others=lambda width: {"stem_width": max(4, width // 2 // 4 * 4)},
    title="residual networks of two 3 x 3 convolutions",
    paper="ResNet, arXiv:1512.03385",
    pretrained=(
        "resnet10t.c3_in1k",
        "resnet14t.c3_in1k",
        "resnet18.a1_in1k",
        "resnet26t.ra2_in1k",
        "resnet34.a1_in1k",
        "resnet50.a1_in1k",
    ),
)

#: Name of the space -> the family.
TIMM_FAMILIES: Final[Mapping[str, TimmFamily]] = {
    "resnet": _RESNET,
    "resnet-parts": replace(
        _RESNET,
        others=lambda width: {"act_layer": "silu", "stem_width": max(4, width)},
        title="residual networks with SiLU and stems twice as wide",
        paper="ResNet, arXiv:1512.03385; SiLU, arXiv:1710.05941",
        pretrained=(),
    ),
    "resnet-small": TimmFamily(
        model="small_resnet",
        width="channels",
        depth="layers",
        depths=((1, 2), (1, 2), (1, 2), (1, 2)),
        options={"stem_stride": (1, 2)},
        by_hand=(1, 1, 1, 1, 1),
        others=lambda width: {"act_layer": "silu", "stem_width": width},
        multiple=2,
        least=16,
        title="residual networks for pictures of up to 64 px: one convolution as the stem",
        paper="ResNet, arXiv:1512.03385; SiLU, arXiv:1710.05941",
    ),
    "mobilenet": TimmFamily(
        model="mobilenetv3_small_scaled",
        width="width",
        depth="depths",
        depths=((2, 3), (2, 3, 4), (1, 2, 3), (1, 2, 3)),
        by_hand=(2, 3, 2, 3),
        factors=(),
        title="inverted bottlenecks of depthwise convolutions",
        paper="MobileNetV3, arXiv:1905.02244",
        pretrained=(
            "mobilenetv3_small_050.lamb_in1k",
            "mobilenetv3_small_075.lamb_in1k",
            "mobilenetv3_small_100.lamb_in1k",
            "mobilenetv3_large_100.ra_in1k",
        ),
    ),
    "convnext": TimmFamily(
        model="convnext_atto",
        width="dims",
        depth="depths",
        depths=((1, 2, 3), (1, 2, 3), (2, 4, 6), (1, 2, 3)),
        options={"stem_type": ("patch", "overlap_tiered")},
        by_hand=(2, 2, 6, 2, "patch"),
        title="depthwise 7 x 7 convolutions and a feed-forward part",
        paper="ConvNeXt, arXiv:2201.03545",
        pretrained=(
            "convnext_atto.d2_in1k",
            "convnext_femto.d1_in1k",
            "convnext_pico.d1_in1k",
            "convnext_nano.in12k_ft_in1k",
            "convnext_tiny.in12k_ft_in1k",
        ),
    ),
    "repvit": TimmFamily(
        model="repvit_m0_9",
        width="embed_dim",
        depth="depth",
        depths=((1, 2), (1, 2), (2, 4, 8, 14), (1, 2)),
        by_hand=(2, 2, 14, 2),
        multiple=2,
        title="MobileNetV3-like blocks in the shape of a ViT",
        paper="RepViT, arXiv:2307.09283",
        pretrained=(
            "repvit_m0_9.dist_450e_in1k",
            "repvit_m1_0.dist_450e_in1k",
            "repvit_m1_1.dist_450e_in1k",
            "repvit_m1_5.dist_450e_in1k",
        ),
    ),
    "starnet": TimmFamily(
        model="starnet_s1",
        width="base_dim",
        depth="depths",
        depths=((1, 2), (1, 2), (2, 4, 8), (1, 2, 3)),
        by_hand=(2, 2, 8, 3),
        factors=(),
        title="depthwise convolutions and products of two maps",
        paper="StarNet, arXiv:2403.19967",
        pretrained=("starnet_s1.in1k", "starnet_s2.in1k", "starnet_s3.in1k", "starnet_s4.in1k"),
    ),
    "swin": TimmFamily(
        model="swin_tiny_patch4_window7_224",
        width="embed_dim",
        depth="depths",
        depths=((1, 2), (1, 2), (2, 4, 6), (1, 2)),
        options={"window_size": (4, 8)},
        by_hand=(2, 2, 6, 2, 4),
        factors=(),
        others=lambda width: {"num_heads": tuple(f * _heads(width) for f in _PYRAMID)},
        multiple=2,
        title="attention in shifted windows, positions as biases",
        paper="Swin, arXiv:2103.14030",
        pretrained=(
            "swin_tiny_patch4_window7_224.ms_in1k",
            "swin_small_patch4_window7_224.ms_in1k",
        ),
    ),
    "deit": TimmFamily(
        model="deit_tiny_patch16_224",
        width="embed_dim",
        depth="depth",
        depths=((3, 4, 6, 8, 12),),
        options={"patch_size": (4, 8, 16)},
        by_hand=(12, 8),
        factors=(),
        others=lambda width: {"num_heads": _heads(width, 16)},
        multiple=4,
        title="plain vision transformers",
        paper="DeiT, arXiv:2012.12877",
        pretrained=(
            "deit_tiny_patch16_224.fb_in1k",
            "deit_small_patch16_224.fb_in1k",
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
        f = self.family
        stages = Values(f"depth of {f.model}", (DEPTH_CHOICES,) * len(f.depths))
        depths = stages.checked(self.depths)
        width = checked_choice(f"width of {f.model}", self.width, range(f.multiple, _WIDEST + 1))
        options = {name: choices[0] for name, choices in f.options.items()} | dict(self.options)
        object.__setattr__(self, "depths", depths)
        object.__setattr__(self, "width", width // f.multiple * f.multiple)
        object.__setattr__(self, "options", tuple(sorted(options.items())))

    @property
    def width_step(self) -> int:
        """As the base says: that of the family."""
        return self.family.multiple

    @property
    def model(self) -> TimmModel:
        """The model of timm's registry with its arguments."""
        arguments = self.family.arguments(self.width, self.depths, dict(self.options))
        return TimmModel(self.family.model, tuple(sorted(arguments.items())))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text; its arguments have to be those of a width and depths."""
        f, prefix = cls.family, f"{PREFIX}{cls.family.model}("
        example = cls(tuple(choices[0] for choices in f.depths), 6 * f.multiple)
        refusal = ValueError(f"{shown(text)} is not {prefix}...) as in {example}")
        if not text.startswith(prefix):
            raise refusal
        model = TimmModel.parse(text)
        arguments = model.arguments
        try:
            width, depths = arguments[f.width], arguments[f.depth]
            width = width[0] if isinstance(width, tuple) else width
            options = tuple((name, arguments[name]) for name in f.options)
        except (KeyError, IndexError):
            raise refusal from None
        depths = depths if isinstance(depths, tuple) else (depths,)
        if not isinstance(width, int) or not all(isinstance(depth, int) for depth in depths):
            raise refusal
        if not all(isinstance(value, type(f.options[name][0])) for name, value in options):
            raise refusal  # such as a window of two sides, which no feature stands for
        arch = cls(depths, width, options)
        if arch.model != model:
            raise refusal
        return arch

    def __str__(self) -> str:
        """The canonical text."""
        return str(self.model)


class TimmSpace(SearchSpace):
    """The networks of a family; the width is that of a limit."""

    def __init__(self, name: str, family: TimmFamily) -> None:
        names = [f"L{i}" for i in range(1, len(family.depths) + 1)]
        self.name, self.family = name, family  # type: ignore[misc]
        self.description, self.paper = family.title, family.paper  # type: ignore[misc]
        self.prefix = f"{PREFIX}{family.model}("  # type: ignore[misc]
        stages = dict(zip(names, family.depths, strict=True))
        self.dimensions = {**stages, **family.options}  # type: ignore[misc]
        first, last = names[0], names[-1]
        blocks = first if first == last else f"{first} to {last}"
        self.legend = {  # type: ignore[misc]
            blocks: "blocks in each stage",
            **{option: _LEGEND[option] for option in family.options if option in _LEGEND},
        }
        self.architecture = type(  # type: ignore[misc]
            f"{name.title().replace('-', '')}Architecture", (TimmArchitecture,), {"family": family}
        )
        self.by_hand = (str(self.from_values(family.by_hand)),)  # type: ignore[misc]

    def values(self, arch: TimmArchitecture) -> Iterable[Choice]:
        """See :meth:`SearchSpace.values`."""
        options: dict[str, Any] = dict(arch.options)
        return (*arch.depths, *(options[name] for name in self.family.options))

    def from_values(self, values: Sequence[Any]) -> TimmArchitecture:
        """See :meth:`SearchSpace.from_values`."""
        stages = len(self.family.depths)
        options = zip(self.family.options, values[stages:], strict=True)
        arch: TimmArchitecture = self.architecture(
            tuple(values[:stages]), self._width, tuple(options)
        )
        return arch

    @property
    def _width(self) -> int:
        return max(self.family.multiple, 32)

    def features(self, arch: TimmArchitecture) -> dict[str, float]:
        """See :meth:`SearchSpace.features`; with the number of blocks and the width."""
        return super().features(arch) | size_features(sum(arch.depths), arch.width)

    def make_network(self, arch: TimmArchitecture, image_size: int, **options: Any) -> nn.Module:
        """See :meth:`SearchSpace.make_network`."""
        return arch.model.build(
            image_size=image_size,
            num_classes=options["num_classes"],
            in_chans=options.get("in_chans", 3),
            drop=options["drop_rate"],
            drop_path=options["drop_path_rate"],
        )

    def check(self, arch: TimmArchitecture | str, image_size: int) -> None:
        """See :meth:`SearchSpace.check`; timm would cut off what patches do not fill."""
        patch: Any = dict(self.read(arch).options).get("patch_size")
        if image_size < self.family.least:
            raise ValueError(
                f"{self.name} takes images of {self.family.least} px or more, not {image_size}"
            )
        if patch:
            patches_of(image_size, patch)


for _name, _family in TIMM_FAMILIES.items():
    SPACES.register(_name, TimmSpace(_name, _family))
