"""Evolution over paths, on a supernet of two stages of four cells with made-up fitness."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asvit.search.supernet_result import Accuracy, AccuracyJournal, Cells, PathRow
from asvit.search.supernet_settings import EvolutionSettings
from asvit.search.supernet_space import AllowedPaths, ranked

COST = {"b": 10, "s": 17, "-": 0}


class Toy(AllowedPaths):
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


def test_equal_networks_in_other_cells_are_one() -> None:
    architectures = [one.architecture for one in run(evolution(population=200), 1)]
    # Stages of up to four cells: 1 + 2 + 4 + 8 + 16 each; the empty one and those above 100 go.
    each = ["".join(word) for n in range(5) for word in itertools.product("bs", repeat=n)]
    possible = {
        f"{a}|{b}"
        for a, b in itertools.product(each, repeat=2)
        if 0 < sum(COST[cell] for cell in a + b) <= 100
    }
    assert len(each) == 31
    assert set(architectures) <= possible
    assert len(architectures) == 200


def test_it_finds_the_best_that_the_window_allows() -> None:
    best = ranked(run(evolution(population=30, crossovers=12, mutations=12), 12))[0]
    # Four pairs in stage 2 take 68; one more in stage 1, 85; a basic layer then adds nothing.
    assert best.validation == 13
    assert best.macs == 85


def test_a_generation_follows_from_what_was_before_it_alone() -> None:
    candidates = run(evolution(), 4)
    before = [one for one in candidates if one.generation < 4]
    again = evolution().propose(4, before)
    values = [one.validation for one in candidates[len(before) :]]
    assert [*before, *map(lambda one, v: replace(one, validation=v), again, values)] == candidates
    assert evolution(seed=1).propose(4, before) != again


def test_children_are_of_the_best_alone() -> None:
    parent = row("ssss|bb--", 88, 9.0)
    others = [row(f"b---|{x}---", 20, 1.0) for x in "bs"]
    only = evolution(keep=1, mutations=10, crossovers=2, mutation_probability=0.1)
    children = [one for one in only.propose(2, [*others, parent]) if one.origin != "random"]
    # One parent crossed with itself gives itself, which is known.
    assert children
    assert {one.origin for one in children} == {"mutation"}
    assert all(one.cells[0].count("s") >= 2 for one in children)


def test_crossover_takes_each_cell_from_either_parent() -> None:
    two = [row("bbbb|----", 40, 2.0), row("ss--|ssbb", 88, 1.0)]
    children = evolution(crossovers=8, mutations=0, population=8).propose(2, two)
    crossed = [one.cells for one in children if one.origin == "crossover"]
    assert len(crossed) == 8
    for path in crossed:
        for stage, *parents in zip(path, *(one.cells for one in two), strict=True):
            assert all(cell in both for cell, *both in zip(stage, *parents, strict=True))


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.floats(0, 1))
def test_mutation_redraws_each_cell_with_its_probability(seed: int, rate: float) -> None:
    of = evolution(mutation_probability=rate)
    parent = ("b" * 4, "s" * 4)
    rng = np.random.default_rng(seed)
    changed = sum(
        child != cell
        for _ in range(400)
        for pair in zip(of._mutated([parent], rng), parent, strict=True)
        for child, cell in zip(*pair, strict=True)
    )
    # A redrawn cell stays what it is once in three times.
    expected = 3200 * rate * 2 / 3
    assert abs(changed - expected) <= 6 * (3200 * 0.25) ** 0.5


def test_drawing_is_uniform_in_every_cell() -> None:
    rng = np.random.default_rng(0)
    paths = [evolution().draw(rng) for _ in range(3000)]
    for stage in range(2):
        for cell in range(4):
            counts = Counter(path[stage][cell] for path in paths)
            assert set(counts) == set("bs-")
            assert max(abs(n - 1000) for n in counts.values()) < 130  # five standard deviations


def test_ties_go_to_fewer_multiply_adds_then_to_the_text() -> None:
    values = [("d", 2, 5.0), ("c", 1, 5.0), ("b", 1, 5.0), ("a", 9, 6.0)]
    made = [row("b|-", macs, value, text) for text, macs, value in values]
    assert "".join(one.architecture for one in ranked(made)) == "abcd"


def test_a_generation_without_anything_new_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvit.search.supernet_space._FILL_TRIES", 2000)
    monkeypatch.setattr(Toy, "shape", ("--",))
    monkeypatch.setattr(Toy, "letters", "b-")
    small = Toy(EvolutionSettings())
    first = small.propose(1, [])
    assert {one.architecture for one in first} == {"b", "bb"}
    assert small.propose(2, [replace(one, validation=1.0) for one in first]) == []


def test_a_journal_keeps_each_part_when_a_run_is_extended(tmp_path: Path) -> None:
    path, values = tmp_path / "accuracies.jsonl", {"supernet": {"folder": "a", "digest": "d"}}
    journal, (here, there) = AccuracyJournal(path), (("bs----", "b-----"), ("------", "b-----"))
    journal.start(EvolutionSettings(), device="cpu", versions={}, **values)
    journal.add_record(Accuracy("validation", here, 1 / 3))
    journal.add_record(Accuracy("test", here, 50.0))
    journal.start(EvolutionSettings(generations=21), device="cpu", versions={}, **values)
    again = AccuracyJournal(path)
    assert (again.get("validation", here), again.get("test", here)) == (1 / 3, 50.0)
    assert again.get("validation", there) is None
    assert again.start_values["supernet"] == values["supernet"]
