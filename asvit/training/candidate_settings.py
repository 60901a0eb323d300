"""Settings of the short trainings of architectures, all by one recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asvit.core.settings import setting
from asvit.training.balance_settings import balance_setting
from asvit.training.short_settings import (
    ShortTrainingSettings,
    initial_weights,
    labelled_data,
)
from proxies.messages import unknown

if TYPE_CHECKING:
    from asvit.spaces.base import SearchSpace
    from asvit.training.short import Recipe


@dataclass(frozen=True)
class CandidateSettings(ShortTrainingSettings):
    """How architectures are trained: equal settings on a kind of device give equal accuracies."""

    space: str = setting(
        "asvit",
        "Search space (see asvit list spaces).",
        metavar="NAME",
        complete="asvit.spaces:SPACES",
        several=True,
    )
    data: str = labelled_data()
    classes: int = setting(
        100, "Classes of the fractals; other images have their own.", at_least=2
    )
    train_images: int = setting(20_000, "Images to train on, over all classes.", at_least=2)
    test_images: int = setting(5_000, "Other images to test on.", at_least=1)
    image_size: int = setting(64, "Side of the square images, in pixels.", at_least=1)
    width: int = setting(32, "Channels of the first stage.", at_least=1)
    steps: int = setting(3_000, "Batches of each training, the same for all.", at_least=1)
    batch_size: int = setting(64, "Images in a batch.", at_least=1)
    init: Literal["xavier", "own"] = initial_weights()
    optimizer: Literal["adamw", "muon"] = setting(
        "adamw",
        "AdamW, or Muon, which takes about three times its learning rate.",
        choices=("adamw", "muon"),
    )
    balance: Literal["none", "weights", "sampling"] = balance_setting()
    paces: str | None = setting(
        None,
        "Steps of some families, as multiples of the others': resnet=1.5,swin=0.9.",
        metavar="FAMILY=N,...",
        several=True,
    )

    def check(self) -> None:
        """Check the families and their multiples."""
        super().check()
        if self.paces is None:
            return
        space = self._space
        families = [*map(str, space.dimensions.get(space.branch, (space.name,)))]
        for family in self.steps_of:
            if family not in families:
                raise ValueError(f"paces={self.paces!r}: {unknown('family', family, families)}")

    @property
    def _space(self) -> SearchSpace:
        from asvit.spaces.base import load_space

        return load_space(self.space)

    @property
    def steps_of(self) -> Mapping[str, int]:
        """Steps of the families that have other numbers of them."""
        steps = dict[str, int]()
        for pace in self.paces.split(",") if self.paces else ():
            family, _, times = pace.partition("=")
            try:
                steps[family] = max(1, round(float(times) * self.steps))
            except (ValueError, OverflowError):
                times = "0"
            if float(times) <= 0:
                raise ValueError(
                    f"paces={self.paces!r} must be families and numbers above 0, such as "
                    "resnet=1.5"
                )
        return steps

    def recipe_of(self, architecture: str) -> Recipe:
        """The recipe for the network of an architecture's text."""
        if not self.paces:
            return self.short_recipe(self.steps)
        family = self._space.family_of(architecture)
        return self.short_recipe(self.steps_of.get(family, self.steps))
