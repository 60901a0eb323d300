"""Evolution over paths, on a supernet of two stages of four cells with made-up fitness."""

from collections import Counter
from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asvit
from asvit.architectures.psvit_path import layers_of
from asvit.search.evolution import Cells, EvolutionSettings, PathRow
from asvit.search.paths import PathCosts, PathSampler, SupernetSpace
from asvit.training.short_settings import SupernetSettings
from proxies import count

COST = {"b": 10, "s": 17, "-": 0}


class Toy(PathSampler):
    """Cells count wherever they stand; nothing without layers, nothing above 100."""

    shape, letters = ("----", "----"), "bs-"

    def __init__(self, settings: EvolutionSettings) -> None:
        self.settings = settings

    def look(self, path: Cells) -> tuple[str, int] | None:
        macs = sum(COST[cell] for stage in path for cell in stage)
        return ("|".join(path).replace("-", ""), macs) if 0 < macs <= 100 else None


def evolution(**changes: object) -> Toy:
    settings = {"population": 12, "keep": 4, "crossovers": 5, "mutations": 5, **changes}
    return Toy(EvolutionSettings(**settings))


def run(evolution: Toy, generations: int) -> list[PathRow]:
    """More pairs are better, most of all in stage 2."""
    rows: list[PathRow] = []
    for generation in range(1, generations + 1):
        found = evolution.propose(generation, rows)
        fitness = [row.cells[0].count("s") + 3.0 * row.cells[1].count("s") for row in found]
        rows += map(lambda row, value: replace(row, validation=value), found, fitness)
    return rows


def row(path: str, macs: int, fitness: float, architecture: str = "") -> PathRow:
    """A path of the first generation."""
    return PathRow(0, 1, "random", architecture or path.replace("-", ""), path, macs, fitness)


def test_generations_hold_what_was_asked_for_and_no_network_twice() -> None:
    candidates = run(evolution(), 6)
    assert len({one.architecture for one in candidates}) == len(candidates)
    assert all(one.macs <= 100 for one in candidates)
    assert Counter(one.origin for one in candidates if one.generation == 1) == {"random": 12}
    for generation in (2, 3, 4):
        counts = Counter(one.origin for one in candidates if one.generation == generation)
        assert sum(counts.values()) == 12
        assert counts["crossover"] <= 5
        assert counts["mutation"] <= 5


def test_a_generation_follows_from_what_was_before_it_alone() -> None:
    candidates = run(evolution(), 4)
    before = [one for one in candidates if one.generation < 4]
    again = evolution().propose(4, before)
    values = [one.validation for one in candidates[len(before) :]]
    assert [*before, *map(lambda one, v: replace(one, validation=v), again, values)] == candidates
    assert evolution(seed=1).propose(4, before) != again


def test_crossover_takes_each_cell_from_either_parent() -> None:
    two = [row("bbbb|----", 40, 2.0), row("ss--|ssbb", 88, 1.0)]
    children = evolution(crossovers=8, mutations=0, population=8).propose(2, two)
    crossed = [one.cells for one in children if one.origin == "crossover"]
    assert len(crossed) == 8
    for path in crossed:
        for stage, *parents in zip(path, *(one.cells for one in two), strict=True):
            assert all(cell in both for cell, *both in zip(stage, *parents, strict=True))


def test_a_generation_without_anything_new_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvit.search.paths._FILL_TRIES", 2000)
    monkeypatch.setattr(Toy, "shape", ("--",))
    monkeypatch.setattr(Toy, "letters", "b-")
    small = Toy(EvolutionSettings())
    first = small.propose(1, [])
    assert {one.architecture for one in first} == {"b", "bb"}
    assert small.propose(2, [replace(one, validation=1.0) for one in first]) == []


SPACES = ("psvit1d", "psvit2d")
CLASSES = 7
PATHS = st.tuples(*[st.text("bs-", min_size=6, max_size=6)] * 3).filter(
    lambda path: any(map(layers_of, path))
)


def space_of(space: str, image_size: int = 64, width: int = 12) -> SupernetSpace:
    return SupernetSpace(SupernetSettings.make(space=space, image_size=image_size, width=width))


@lru_cache
def costs(space: str) -> PathCosts:
    return PathCosts(space_of(space), CLASSES)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(SPACES), PATHS)
def test_a_path_costs_what_its_network_is_counted_to(space: str, path: tuple[str, ...]) -> None:
    text = str(space_of(space).architecture(path))
    counted = count(asvit.build(text, 64, CLASSES), 64)
    assert costs(space)(path) == counted
    assert costs(space).least.macs <= counted.macs


@pytest.mark.parametrize(("space", "width"), [("psvit1d", 192), ("psvit2d", 96)])
def test_the_limit_of_the_default_width_is_deit_tiny(space: str, width: int) -> None:
    # deit_tiny_patch16_224: convolution, linear maps and matrix products
    assert space_of(space, 224, width).deit_macs(1000) == 1_253_683_200


def test_only_paths_below_the_limit_are_allowed() -> None:
    of = space_of("psvit2d")
    path = ("bs----", "b-----", "------")
    macs = costs("psvit2d")(path).macs
    for most, known in ((macs, (str(of.architecture(path)), macs)), (macs - 1, None)):
        paths = PathSampler(of, CLASSES, EvolutionSettings.make(max_macs=most))
        assert paths.look(path) == known
    paths = PathSampler(of, CLASSES, EvolutionSettings.make())
    assert paths.settings.max_macs == paths.deit_macs == of.deit_macs(CLASSES)
    assert paths.look(("------",) * 3) is None
    found = paths.propose(1, [])
    assert len(found) == 50
    assert max(one.macs for one in found) <= paths.deit_macs
    with pytest.raises(ValueError, match=r"no path takes at most 1,000 multiply-adds"):
        PathSampler(of, CLASSES, EvolutionSettings.make(max_macs="1K"))
