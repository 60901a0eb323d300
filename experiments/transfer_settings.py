"""Settings, command-line options and schedules of the detection and segmentation scripts."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from asvit.core.settings import LARGEST, Settings
from asvit.networks import Network, WeightsFile
from asvit.networks.pyramid import Pyramid, PyramidWithFpn, backbone
from proxies.messages import first_line

USAGE, FAILED, INTERRUPTED = 2, 3, 130  # exit codes, as the commands of asvit have them


def check_whole(settings: object, at_least: Mapping[str, int]) -> None:
    """Check that these settings are whole numbers, each at least so large.

    Raises:
        ValueError: If one is not.
    """
    for name, least in at_least.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def check_names(settings: object, names: Sequence[str]) -> None:
    """Check that these settings are texts that are not empty.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be a name, got {value!r}")


def check_number(name: str, value: object, below: float, *, zero: bool) -> None:
    """Check that the setting ``name`` is a number under ``below``, and above 0 or also 0.

    Raises:
        ValueError: If it is not.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (0 <= value < below) or (value == 0 and not zero):  # type: ignore[operator]
        least = "at least 0" if zero else "above 0"
        large = number and value >= below  # type: ignore[operator]
        most = f" and below {below:g}" if below < LARGEST or large else ""
        raise ValueError(f"{name} must be a number {least}{most}, got {value!r}")


@dataclass(frozen=True)
class TransferSettings(Settings):
    """Settings of a training. Equal settings give equal results (on one CPU).

    Attributes:
        arch: Text of the network; empty for the network of the weights.
        data: Folder with images and annotations.
        image_size: Side of the square that training images are cut to, in pixels.
        weights: File of pretrained weights; empty for none.
        epochs: Passes over the images.
        batch_size: Images of a step, over all processes.
        learning_rate: Highest learning rate.
        weight_decay: Decoupled weight decay of matrices; norms and biases have none.
        warmup: Steps of linear warm-up.
        drop_path: Drop-path probability of the last block.
        frozen_stages: Stages that are not trained.
        scale: Range of random resizing, relative to the image size.
        clip: Largest gradient norm; 0 for no limit.
        norms: Whether to put layer norms on the feature maps.
        windows: Factor on the number of windows per side of an As-ViT; 0 keeps windows about as
            large as at 224 px.
        seed: Seed of initial weights, order, augmentation and drop-path.

    Raises:
        ValueError: If a value is out of range.
    """

    arch: str
    data: str
    image_size: int
    weights: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: int
    drop_path: float
    frozen_stages: int
    scale: tuple[float, float]
    clip: float
    norms: bool
    windows: int
    seed: int

    def __post_init__(self) -> None:
        check_names(self, ("data",))
        if not self.arch and not self.weights:
            raise ValueError("name an architecture, or --weights that say theirs")
        whole = {"image_size": 32, "epochs": 1, "batch_size": 1, "warmup": 0, "frozen_stages": 0}
        check_whole(self, {**whole, "windows": 0, "seed": 0})
        check_number("learning_rate", self.learning_rate, math.inf, zero=False)
        check_number("clip", self.clip, math.inf, zero=True)
        for name in ("weight_decay", "drop_path"):
            check_number(name, getattr(self, name), 1.0, zero=True)
        object.__setattr__(self, "scale", tuple(self.scale))  # a list in JSON
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(f"scale must be two numbers, least first, got {self.scale}")

    @classmethod
    def of(cls, options: argparse.Namespace) -> Self:
        """The settings in parsed options."""
        return cls(**{name: getattr(options, name) for name in cls.__dataclass_fields__})


def build_pyramid(
    settings: TransferSettings, *, fpn: int | None = None, grad_checkpointing: bool = False
) -> Pyramid | PyramidWithFpn:
    """Build the network as a feature pyramid, with its weights.

    Raises:
        ValueError: As in :func:`asvit.networks.pyramid.backbone`.
        FileNotFoundError: The same.
    """
    arch: str | Network = settings.arch
    if not arch:
        known = WeightsFile.read(Path(settings.weights)).network
        arch = replace(known, image_size=settings.image_size)
    return backbone(
        arch,
        settings.image_size,
        weights=settings.weights or None,
        norms=settings.norms,
        frozen_stages=settings.frozen_stages,
        drop_path=settings.drop_path,
        grad_checkpointing=grad_checkpointing,
        windows=settings.windows or None,
        fpn=fpn,
    )


def normalisation(settings: TransferSettings) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels (0 to 1): those of the weights, or ImageNet's."""
    facts: Any = {}
    if settings.weights:
        try:
            facts = WeightsFile.read(Path(settings.weights)).facts
        except ValueError:  # weights without our header
            facts = {}
    return (
        tuple(facts.get("mean", IMAGENET_DEFAULT_MEAN)),
        tuple(facts.get("std", IMAGENET_DEFAULT_STD)),
    )


def make_parser(doc: str, out: str, **defaults: Any) -> argparse.ArgumentParser:
    """A parser with the options of both scripts.

    Args:
        doc: Description of the script.
        out: Default run folder.
        **defaults: Default of each setting, by name.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "arch",
        nargs="?",
        default="",
        metavar="ARCH",
        help="text of any architecture, or timm:NAME; left out, that of --weights",
    )
    parser.add_argument("--data", required=True, metavar="FOLDER", help="images and annotations")
    parser.add_argument("--out", type=Path, default=Path(out), metavar="FOLDER", help="run folder")
    parser.add_argument("--weights", default="", metavar="FILE", help="weights to start from")
    for name, (kind, text) in _OPTIONS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=defaults[name],
            metavar="N" if kind is int else "X",
            help=f"{text} (default {defaults[name]:g})",
        )
    parser.add_argument(
        "--scale",
        type=float,
        nargs=2,
        default=defaults["scale"],
        metavar=("LEAST", "MOST"),
        help=f"range of random resizing (default {defaults['scale'][0]:g} "
        f"{defaults['scale'][1]:g}; 1 1 for none)",
    )
    parser.add_argument(
        "--no-norms", dest="norms", action="store_false", help="no layer norms on the maps"
    )
    parser.add_argument("--fresh", action="store_true", help="start over in the run folder")
    parser.add_argument(
        "--grad-checkpointing", action="store_true", help="save memory, take more time"
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="data worker processes"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    return parser


_OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "image_size": (int, "side of the square that images are cut to, px"),
    "epochs": (int, "passes over the images"),
    "batch_size": (int, "images of a step, over all processes"),
    "learning_rate": (float, "highest learning rate of AdamW"),
    "weight_decay": (float, "weight decay of matrices"),
    "warmup": (int, "steps of linear warm-up"),
    "drop_path": (float, "drop-path probability of the last block"),
    "frozen_stages": (int, "stages that are not trained"),
    "windows": (int, "windows per side of an As-ViT, times its own; 0 for about those of 224 px"),
    "clip": (float, "largest gradient norm, 0 for no limit"),
    "seed": (int, "seed of all random draws"),
}


def run_cli(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> int:
    """Parse the command line and run; expected errors become one line and an exit code."""
    options = parser.parse_args()
    try:
        run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {first_line(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted; the same command resumes after the last epoch", file=sys.stderr)
        return INTERRUPTED
    return 0


def step_decay(step: int, steps: int, *, warmup: int, marks: Sequence[float]) -> float:
    """Learning rate relative to the highest: warm-up, then a tenth after each mark in [0, 1]."""
    rise = min((step + 1) / (warmup + 1), 1.0)
    return rise * 0.1 ** sum(step >= mark * steps for mark in marks)


def linear_decay(step: int, steps: int, *, warmup: int) -> float:
    """Learning rate relative to the highest: warm-up, and linear decay to 0."""
    rise = min((step + 1) / (warmup + 1), 1.0)
    return rise * (1 - step / steps)
