"""Settings of building a table of reference accuracies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from asvit.architectures.base import Growable
from asvit.core.settings import Presets, setting
from asvit.training.balance_settings import balance_setting
from asvit.training.short_settings import (
    ShortTrainingSettings,
    initial_weights,
    labelled_data,
)
from proxies.messages import unknown
from proxies.registry import Registry

if TYPE_CHECKING:
    from asvit.spaces.base import SearchSpace
    from asvit.training.short import Recipe


@dataclass(frozen=True)
class BuildSettings(ShortTrainingSettings):
    """Settings of a table. Two runs with equal settings on one kind of device give equal tables.

    The preset ``default`` is for a GPU or a night, ``quick`` for a minute or two;
    ``asvit-fractal`` and ``asvit-sizes`` reproduce the tables of these names.
    """

    presets: ClassVar[Presets] = Registry(
        "preset",
        {
            "default": {},
            "quick": {
                "n": 10,
                "classes": 10,
                "train_images": 1_000,
                "test_images": 500,
                "image_size": 32,
                "width": 16,
                "steps": 300,
                "batch_size": 32,
            },
            "asvit-fractal": {
                "seeds": 3,
                "classes": 20,
                "train_images": 4_000,
                "test_images": 5_000,
                "image_size": 32,
                "width": 16,
                "steps": 700,
                "init": "own",
            },
            "asvit-sizes": {
                "n": 100,
                "classes": 40,
                "train_images": 4_000,
                "image_size": 32,
                "width": 16,
                "varied": 0.75,
                "max_depth": 2,
                "steps": 350,
                "rate_by_width": True,
            },
        },
    )

    space: str = setting(
        "asvit",
        "Search space (see asvit list spaces).",
        metavar="NAME",
        complete="asvit.spaces:SPACES",
        several=True,
    )
    n: int = setting(
        60,
        "Architectures, drawn uniformly without repeats; more of them extend a table.",
        at_least=2,
    )
    seeds: int = setting(
        2, "Trainings of each, with different initial weights and batches.", at_least=1
    )
    data: str = labelled_data()
    classes: int = setting(
        100, "Classes of the fractals; other images have their own.", at_least=2
    )
    train_images: int = setting(20_000, "Images to train on, over all classes.", at_least=2)
    test_images: int = setting(5_000, "Other images to test on.", at_least=1)
    image_size: int = setting(64, "Side of the square images, in pixels.", at_least=1)
    width: int = setting(32, "Channels of the first stage.", at_least=1)
    varied: float = setting(
        0.0,
        "Share of the architectures whose depths (1 to --max-depth) and width (half of --width to "
        "its double) are drawn, too.",
        metavar="N",
        at_least=0,
        at_most=1,
    )
    max_depth: int = setting(3, "Most blocks in a stage of those.", at_least=1, at_most=256)
    steps: int = setting(3_000, "Batches of each training, the same for all.", at_least=1)
    batch_size: int = setting(64, "Images in a batch.", at_least=1)
    init: Literal["xavier", "own"] = initial_weights()
    rate_by_width: bool = setting(
        False,
        "Take --learning-rate for --width; twice the width has half the rate (arXiv 2203.03466).",
    )

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
    def has_width(self) -> bool:
        """Whether architectures of the space, or of one of several, have the table's width."""
        import numpy as np

        from asvit.spaces.union import members_of

        rng = np.random.default_rng(0)
        return any(isinstance(space.sample(rng), Growable) for space in members_of(self._space))

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

    @property
    def recipe(self) -> Recipe:
        """The recipe for networks of the width of the table."""
        return self.short_recipe(self.steps)

    def recipe_of(self, architecture: str) -> Recipe:
        """The recipe for the network of an architecture's text."""
        recipe = self.recipe
        if self.paces:
            family = self._space.family_of(architecture)
            recipe = self.short_recipe(self.steps_of.get(family, self.steps))
        if not self.rate_by_width:
            return recipe
        from asvit.spaces.architectures import parse

        width = getattr(parse(architecture), "width", self.width)
        return replace(recipe, learning_rate=self.learning_rate * self.width / width)
