"""Contracts for extensions, as test classes for pytest to inherit.

asvit's own measures, spaces, controllers, kinds of run and images pass the same tests. Needs the
extra ``test``, or pytest alone::

    from asvit.testing import SpaceContract

    class TestConvNeXt(SpaceContract):
        space = "my-convnext"
"""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch

import proxies
from asvit.core.progress import Progress
from asvit.spaces import SearchSpace, load_space
from proxies.registry import PROXIES

if TYPE_CHECKING:
    from optuna.study import Study
    from torch import nn

    from asvit.data import LabelledImages
    from asvit.runs.run_folder import Kind
    from asvit.spaces.base import Choice


class MeasureContract:
    """A measure is a number or NaN with a reason, repeatable, and leaves the network as it was."""

    measure: str  #: its name
    image_size: int = 32

    def network(self) -> nn.Module:
        """A network that it has a value for."""
        import asvit

        return asvit.build("4,8,2|2,4,2|2,2,2|2,1,2|16", self.image_size, 3)

    def score(self, seed: int = 0) -> proxies.Score:
        """Its score of that network."""
        score = proxies.measure(
            self.network, [self.measure], key="a", repeats=2, seed=seed, device="cpu",
            image_size=self.image_size,
        )  # fmt: skip
        return score[self.measure]

    def test_it_is_described(self) -> None:
        measure = PROXIES[self.measure]
        assert measure.name == self.measure
        assert measure.description.isprintable()
        assert measure.better in ("higher", "lower", "reported")

    def test_it_has_a_finite_value(self) -> None:
        score = self.score()
        assert score.valid, score.reason
        assert math.isfinite(score.value)

    def test_the_same_seed_gives_the_same_value(self) -> None:
        if not PROXIES[self.measure].timed:
            assert self.score() == self.score()

    def test_the_network_is_left_as_it_was(self) -> None:
        network = self.network()
        before = copy.deepcopy(network.state_dict()), network.training
        side = self.image_size
        images, labels = torch.randn(6, 3, side, side), torch.arange(6) % 3
        circle = proxies.Circle.random((3, side, side), 4)
        PROXIES[self.measure].value(network, proxies.registry.Inputs(circle, images, labels, 0))
        after = network.state_dict()
        assert network.training == before[1]
        assert all(torch.equal(after[name], value) for name, value in before[0].items())
        assert all(parameter.grad is None for parameter in network.parameters())


class SpaceContract:
    """Architectures of a space are texts and choices, and build networks."""

    space: str  #: its name
    image_size: int = 32

    @property
    def loaded(self) -> SearchSpace:
        """The space."""
        return load_space(self.space)

    def test_it_is_described_and_counts_its_choices(self) -> None:
        space = self.loaded
        assert space.name == self.space
        assert space.description
        assert space.paper
        if type(space).active is SearchSpace.active:  # otherwise not all count for each
            assert space.size == math.prod(map(len, space.dimensions.values()))
        for choices in space.dimensions.values():
            assert len(set(choices)) == len(choices) >= 1

    def test_samples_follow_from_the_generator_and_round_trip(self) -> None:
        space, rng, again = self.loaded, np.random.default_rng(0), np.random.default_rng(0)
        for _ in range(50):
            architecture = space.sample(rng)
            assert space.sample(again) == architecture
            choices = space.encode(architecture)
            assert list(choices) == list(space.dimensions)
            assert space.decode(choices) == space.parse(str(architecture)) == architecture
            assert isinstance(architecture, space.architecture)

    def test_every_choice_can_be_drawn(self) -> None:
        space, rng = self.loaded, np.random.default_rng(0)
        branches = max(1, len(space.dimensions.get(space.branch, ())))
        choices = {name: {*own} for name, own in space.dimensions.items()}
        draws: dict[str, set[Choice]] = {name: set() for name in choices}
        # A tenth is enough where draws are uniform; elsewhere some choices may be rare.
        for _ in range(500 * branches * max(map(len, choices.values()))):
            for name, choice in space.encode(space.sample(rng)).items():
                draws[name].add(choice)
            if draws == choices:
                break
        assert draws == choices

    def test_architectures_and_their_texts_build_networks(self) -> None:
        space, side = self.loaded, self.image_size
        architecture = space.sample(np.random.default_rng(0))
        for form in (architecture, str(architecture)):
            space.check(form, side)
            network = space.build(form, image_size=side, num_classes=3)
            assert network(torch.randn(2, 3, side, side)).shape == (2, 3)

    def test_images_of_other_channels_are_taken_or_refused(self) -> None:
        space, side = self.loaded, self.image_size
        architecture = space.sample(np.random.default_rng(0))
        try:
            network = space.build(architecture, image_size=side, num_classes=3, in_chans=5)
        except ValueError as error:
            assert "images of 3 channels alone, not of 5" in str(error)  # noqa: PT017
        else:
            assert network(torch.randn(2, 5, side, side)).shape == (2, 3)

    def test_networks_made_by_hand_are_in_it(self) -> None:
        space = self.loaded
        for text in space.by_hand:
            choices = space.encode(space.parse(text))
            assert space.encode(space.decode(choices)) == choices

    def test_what_is_not_in_it_is_refused(self) -> None:
        space = self.loaded
        choices = space.encode(space.sample(np.random.default_rng(0)))
        first = next(iter(choices))
        without = {name: choice for name, choice in choices.items() if name != first}
        other = "no choice"
        for wrong, reason in (
            ({**choices, first: other}, f"{first}={other!r} is not in space '{space.name}'; use"),
            (without, f"{first}=None is not in space '{space.name}'; use one of"),
            ({**choices, "Z": 1}, f"Z=1 is not in space '{space.name}'"),
        ):
            with pytest.raises(ValueError, match=re.escape(reason)):
                space.decode(wrong)
        for use in (lambda: space.build("8,2"), lambda: space.check("8,2", self.image_size)):
            with pytest.raises(ValueError, match="8,2"):
                use()


class ControllerContract:
    """A controller draws choices of the space, and what is drawn follows from seed and study."""

    controller: str  #: its name
    dimensions: Mapping[str, tuple[int, ...]] = {f"d{i}": (1, 2, 3, 4) for i in range(6)}

    def study(self, seed: int = 0) -> Study:
        """A study of two objectives."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(directions=["maximize", "minimize"], sampler=self.sampler(seed))

    def sampler(self, seed: int = 0) -> Any:
        """The controller for these dimensions."""
        from asvit.search import SearchSettings, get_controller

        settings = SearchSettings.make(controller=self.controller, seed=seed)
        better: Any = {"length": "higher", "kappa": "lower"}
        return get_controller(self.controller).make(self.dimensions, better, settings)

    def ask(self, study: Study) -> Any:
        """The next trial."""
        from optuna.distributions import CategoricalDistribution

        return study.ask({n: CategoricalDistribution(c) for n, c in self.dimensions.items()})

    def drawn(self, study: Study, steps: int) -> list[dict[str, int]]:
        """The choices of so many trials, which are told values."""
        trials = []
        for _ in range(steps):
            trials.append(trial := self.ask(study))
            total = sum(trial.params.values())
            study.tell(trial, [float(total), float(trial.params["d0"] * trial.params["d1"])])
        return [trial.params for trial in trials]

    def test_the_same_seed_draws_the_same_and_another_does_not(self) -> None:
        first, again, other = (self.drawn(self.study(seed), 20) for seed in (3, 3, 4))
        assert first == again != other

    def test_it_draws_from_the_choices_also_after_failures(self) -> None:
        for failures, different in ((0, 30), (20, 1)):
            study = self.study()
            for _ in range(failures):
                study.tell(self.ask(study), [-math.inf, math.inf])
            drawn = self.drawn(study, 60)
            assert all(
                params.keys() == self.dimensions.keys()
                and all(choice in self.dimensions[name] for name, choice in params.items())
                for params in drawn
            )
            assert len({tuple(params.values()) for params in drawn}) > different

    def test_it_draws_others_after_those_outside_limits(self) -> None:
        from optuna.trial import TrialState

        from asvit.search.sampler import SpaceSampler

        study, drawn = self.study(), set[tuple[int, ...]]()
        if isinstance(study.sampler, SpaceSampler):  # which know the limits and draw within
            return
        for _ in range(20):
            trial = self.ask(study)
            study.tell(trial, state=TrialState.PRUNED)
            drawn.add(tuple(trial.params.values()))
        assert len(drawn) > 1

    def test_a_search_that_was_killed_draws_what_it_would_have(self) -> None:
        from optuna.trial import TrialState

        expected, study = self.drawn(self.study(), 70), self.study()
        resumed: list[dict[str, int]] = []
        while len(resumed) < 70:
            resumed += self.drawn(study, 5)
            study.tell(self.ask(study), state=TrialState.FAIL)  # killed in flight
            study.sampler = self.sampler()
        assert resumed == expected


class RunContract:
    """A run gives its result again, and one that was interrupted ends in the same."""

    kind: Kind
    #: Settings and options of a run of seconds, with two events of progress at least.
    options: Mapping[str, Any]
    #: Keys of result.json that differ from run to run.
    varying: ClassVar[set[str]] = {"wall_seconds", "command", "next_command"}

    def result(self, folder: Path, progress: Any = None) -> dict[str, Any]:
        """What a run in this folder ends in."""
        run = self.kind.make(out=folder, **self.options)
        if progress is not None:
            run.progress = progress
        content: dict[str, Any] = run.run().to_json()
        return {name: value for name, value in content.items() if name not in self.varying}

    def test_the_same_call_gives_the_stored_result(self, tmp_path: Path) -> None:
        first = self.result(tmp_path / "run")
        stored = {path: path.read_bytes() for path in (tmp_path / "run").glob("result.json")}
        assert self.result(tmp_path / "run") == first
        assert {path: path.read_bytes() for path in stored} == stored
        assert self.kind.result_type.read(*stored).to_json().items() >= first.items()

    def test_an_interrupted_run_goes_on_to_the_same_result(self, tmp_path: Path) -> None:
        def interrupt(_progress: Progress) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.result(tmp_path / "cut", interrupt)
        assert self.result(tmp_path / "cut") == self.result(tmp_path / "whole")

    def test_files_of_others_stay(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "notes.txt").write_text("mine")
        self.result(tmp_path / "run")
        assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


class ImagesContract:
    """A set of images has known labels and the same pictures every time; workers can get it."""

    def images(self, folder: Path) -> LabelledImages:
        """The set; ``folder`` is empty at first."""
        raise NotImplementedError

    def test_labels_are_known_without_reading(self, tmp_path: Path) -> None:
        images = self.images(tmp_path)
        assert images.source
        assert len(images) == len(images.labels) > 0
        assert images.labels.dtype == np.int64
        assert 0 <= images.labels.min() <= images.labels.max() < len(images.classes)

    def test_pictures_are_of_its_kind_and_the_same_every_time(self, tmp_path: Path) -> None:
        images = self.images(tmp_path)
        kind = images.kind
        pickle.dumps(images)  # as worker processes get it
        again = copy.copy(images)
        for index in {0, len(images) // 2, len(images) - 1}:
            images.check(index)
            picture: Any = images.picture(index)
            if kind.picture:
                assert picture.mode == "RGB"
            else:
                assert (picture.shape[-1], picture.dtype) == (kind.channels, kind.dtype)
            assert picture.tobytes() == images.picture(index).tobytes()
            assert images.name(index) == again.name(index)

    def test_it_ends_and_its_names_are_distinct(self, tmp_path: Path) -> None:
        images = self.images(tmp_path)
        assert len({images.name(index) for index in range(len(images))}) == len(images)
        with pytest.raises(IndexError, match=str(len(images))):
            images[len(images)]
