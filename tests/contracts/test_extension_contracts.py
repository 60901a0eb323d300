"""asvit's own measures, spaces, controllers, runs and images keep the contracts for extensions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

from asvit.data import LabelledImages
from asvit.data.sources import open_dataset
from asvit.search import CONTROLLERS
from asvit.spaces import SPACES, PlainSpace
from asvit.testing import (
    ControllerContract,
    ImagesContract,
    MeasureContract,
    RunContract,
    SpaceContract,
)
from proxies.registry import PROXIES
from tests.asvit.data.array_sets import make_set
from tests.asvit.data.image_folders import fill
from tests.asvit.toy_run import TOY


class TestMeasures(MeasureContract):
    @pytest.fixture(autouse=True, params=PROXIES)
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.measure = request.param


class TestSpaces(SpaceContract):
    @pytest.fixture(autouse=True, params=SPACES)
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.space = request.param


class _Pixels(PlainSpace):
    name, prefix, description, paper = "pixels", "pixels:", "of one dimension", "none"
    dimensions: ClassVar[Mapping[str, tuple[int, ...]]] = {"width (px)": tuple(range(300))}

    def network(self, choices: Mapping[str, Any], **sizes: Any) -> nn.Module:
        raise NotImplementedError


def test_a_space_may_have_any_numbers_and_names_of_dimensions() -> None:
    class OfPixels(SpaceContract):
        space = "pixels"
        loaded = _Pixels()

    OfPixels().test_every_choice_can_be_drawn()
    OfPixels().test_what_is_not_in_it_is_refused()


class _Seldom(_Pixels):
    dimensions: ClassVar[Mapping[str, tuple[int, ...]]] = {"width (px)": (98, 99)}

    def sample(self, rng: np.random.Generator) -> Any:
        return self.decode({"width (px)": 98 + int(rng.integers(400) == 0)})


def test_a_space_may_draw_a_choice_seldom() -> None:
    class OfSeldom(SpaceContract):
        space = "pixels"
        loaded = _Seldom()

    OfSeldom().test_every_choice_can_be_drawn()


class TestControllers(ControllerContract):
    # The predictor needs architectures and one objective: tests/asvit/search.
    @pytest.fixture(autouse=True, params=sorted({*CONTROLLERS} - {"predictor"}))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.controller = request.param


class TestToyRun(RunContract):
    kind = TOY
    options = {"name": "a", "steps": 3}  # noqa: RUF012


class TestImages(ImagesContract):
    @pytest.fixture(autouse=True, params=["folder", "arrays", "digits", "digits:grey"])
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.spec = request.param

    def images(self, folder: Path) -> LabelledImages:
        if self.spec == "arrays":
            return open_dataset(str(make_set(folder / "set", 5, each=2)))
        return open_dataset(
            str(fill(folder / "set", a=1, b=2)) if self.spec == "folder" else self.spec
        )
