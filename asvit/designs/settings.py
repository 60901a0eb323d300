"""Settings of a design."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from asvit.core.settings import (
    DEVICE,
    SEED,
    Settings,
    setting,
    setting_of,
    settings_class,
)
from asvit.core.shared_settings import check_command
from asvit.export.settings import TOLERANCE
from asvit.search.settings import SearchSettings
from asvit.training.short_settings import BALANCES, UNEVEN

HUB: Final = "hub"  # in place of a file of weights: those that timm publishes
CHOSEN: Final = "sampling"  # of the ways to balance uneven classes
FRACTALS_BELOW: Final = 5_000  # pictures to train on, of which ResNets learn faster after fractals


@settings_class
class DesignSettings(Settings):
    """Settings of a design."""

    data: str = setting(
        ...,
        "Your pictures: a folder with a folder for each class, or train, val and test of these, "
        "or IDX files; TABLE.csv, wds:PATTERN, torchvision:NAME or hf:NAME; or digits, or "
        "fractal:CLASSES, to try it out.",
        metavar="FOLDER",
        complete="paths",
    )
    max_params: int | None = setting_of(SearchSettings, "max_params")
    max_macs: int | None = setting_of(SearchSettings, "max_macs")
    width_multiple: int | None = None  # follows from the device and these limits
    latency_batch: ClassVar[int] = 1  # images of a pass that is timed
    max_latency: float | None = setting_of(SearchSettings, "max_latency")
    latency_runtime: Literal["eager", "onnx"] = setting_of(SearchSettings, "latency_runtime")
    latency_command: str | None = setting_of(SearchSettings, "latency_command")
    hours: float | None = setting(
        None,
        "Time for everything; shorter trainings and smaller networks keep it.",
        metavar="N",
        above=0,
        shown="as long as it takes",
    )
    space: str = setting(
        "families",
        "Spaces to race, as in asvit,shiftvit, or families for all (see asvit list spaces).",
        metavar="NAME",
        complete="asvit.spaces:SPACES",
        several=True,
    )
    trainings: int = setting(24, "Trainings of the search, unless time is short.", at_least=5)
    image_size: int | None = setting(
        None,
        "Side of the square images, in pixels.",
        at_least=16,
        shown="the pictures' own, from 16 to 224; smaller where limits or time are tight",
    )
    balance: Literal["auto", "none", "sampling"] = setting(
        "auto",
        "For uneven classes, draw equally many pictures of each; accuracies are then balanced.",
        choices=("auto", *BALANCES),
        shown="sampling where the largest class has over 3 times the pictures of the smallest",
    )
    pretrained: str | None = setting(
        None,
        "Fine-tune a trained network in the last round, too: its run folder or file, or hub for "
        "timm's published ones within the limits.",
        metavar="FILE",
        complete="paths",
    )
    architecture: str | None = setting(
        None,
        "Network of a --pretrained file that does not say which it is of, such as timm:NAME.",
        name="arch",
        metavar="ARCH",
        shown="what the file says",
        complete="architectures",
    )
    warm_start: Literal["auto", "fractals", "none"] = setting(
        "auto",
        "Train the networks of the last round on generated fractals first: auto does so for a "
        f"ResNet and fewer than {FRACTALS_BELOW:,} pictures.",
        choices=("auto", "fractals", "none"),
    )
    int8: bool = setting(
        False,
        "Write model-int8.onnx, too, in 8-bit integers, unless it loses more than "
        f"{TOLERANCE:g} point of accuracy on the test pictures.",
    )
    device: str = DEVICE
    seed: int = SEED

    def balance_for(self, imbalance: float) -> Literal["none", "sampling"]:
        """How networks are trained on classes whose largest is so many times the smallest."""
        if self.balance != "auto":
            return self.balance
        return CHOSEN if imbalance > UNEVEN else "none"

    def check(self) -> None:
        """Check that there is one way to take times, and an architecture only of a file."""
        check_command(self.latency_command, self.latency_runtime)
        if self.architecture is not None and self.pretrained in (None, HUB):
            raise ValueError(
                f"architecture={self.architecture!r} is that of a file of weights; give it as "
                "pretrained"
            )
