"""Settings, command-line options and schedules of the detection and segmentation scripts."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from asvit.core.settings import Settings, fields_of, setting
from asvit.networks import Network, WeightsFile
from asvit.networks.pyramid import Pyramid, PyramidWithFpn, backbone
from proxies.messages import first_line

USAGE, FAILED, INTERRUPTED = 2, 3, 130  # exit codes, as the commands of asvit have them


def _scale(given: Sequence[float]) -> tuple[float, ...]:
    scale = tuple(given)  # a list in JSON
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] < math.inf:
        raise ValueError(f"scale must be two numbers, least first, got {scale}")
    return scale


@dataclass(frozen=True)
class TransferSettings(Settings):
    """Settings of a training. Equal settings give equal results (on one CPU)."""

    arch: str = setting(
        ..., "Text of any architecture, or timm:NAME; left out, that of --weights.", convert=str
    )
    data: str = setting(..., "Folder of images and annotations.")
    image_size: int = setting(
        ..., "Side of the square that training images are cut to, in pixels.", at_least=32
    )
    weights: str = setting(..., "File of weights to start from.", convert=str)
    epochs: int = setting(..., "Passes over the images.", at_least=1)
    batch_size: int = setting(..., "Images of a step, over all processes.", at_least=1)
    learning_rate: float = setting(..., "Highest learning rate of AdamW.", above=0)
    weight_decay: float = setting(
        ..., "Decoupled weight decay of matrices; norms and biases have none.", at_least=0, below=1
    )
    warmup: int = setting(..., "Steps of linear warm-up.", at_least=0)
    drop_path: float = setting(
        ..., "Drop-path probability of the last block.", at_least=0, below=1
    )
    frozen_stages: int = setting(..., "Stages that are not trained.", at_least=0)
    scale: tuple[float, float] = setting(
        ..., "Range of random resizing, relative to the image size.", convert=_scale
    )
    clip: float = setting(..., "Largest gradient norm; 0 for no limit.", at_least=0)
    norms: bool = setting(..., "Layer norms on the feature maps.")
    windows: int = setting(
        ...,
        "Windows per side of an As-ViT, times its own; 0 keeps them about as large as at 224 px.",
        at_least=0,
    )
    seed: int = setting(..., "Seed of every random draw.", at_least=0)

    def check(self) -> None:
        """Refuse settings without a network."""
        if not self.arch and not self.weights:
            raise ValueError("name an architecture, or --weights that say theirs")

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


def make_parser(
    kind: type[TransferSettings], doc: str, out: str, **defaults: Any
) -> argparse.ArgumentParser:
    """A parser with an option for each setting, and those that the scripts share.

    Args:
        kind: The settings.
        doc: Description of the script.
        out: Default run folder.
        **defaults: Default of each setting, by name.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {"arch": "", "weights": "", "norms": True, **defaults}
    for name, field in fields_of(kind).items():
        flag, default = f"--{name.replace('_', '-')}", known.get(name)
        told = field.metadata["option"].help.removesuffix(".").replace("%", "%%")
        shown = " ".join(f"{x:g}" if isinstance(x, float) else str(x) for x in _all(default))
        told = f"{told} (default {shown})" if name in defaults else told
        if name == "arch":
            parser.add_argument(name, nargs="?", default="", metavar="ARCH", help=told)
        elif name == "norms":
            parser.add_argument(
                "--no-norms", dest=name, action="store_false", help=f"leave out: {told}"
            )
        elif name == "scale":
            words: dict[str, Any] = {"nargs": 2, "metavar": ("LEAST", "MOST")}
            parser.add_argument(flag, type=float, default=default, help=told, **words)
        else:
            of = type(default) if name in defaults else str
            word = {int: "N", float: "X", str: "NAME"}[of]
            missing = name not in known
            parser.add_argument(
                flag, type=of, default=default, metavar=word, help=told, required=missing
            )
    parser.add_argument("--out", type=Path, default=Path(out), metavar="FOLDER", help="run folder")
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


def _all(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


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
