"""The script that times repeats one by one and together."""

import pytest
from run_script import Script

from experiments import bench_repeats
from experiments.bench_repeats import Entry


def test_rows_have_times_and_operations(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    entry = Entry("5,2,2|3,1,2|2,1,2|2,1,3|16", 32)
    monkeypatch.setattr(bench_repeats, "ENTRIES", (entry, Entry("resnet10t", 64)))
    line = "--repeats 3 --images 2 --points 3 --runs 1 --device cpu --only 32"
    _, _, *rows = script(bench_repeats.main, line).splitlines()
    for row, measure in zip(rows, ("L^E", "kernel"), strict=True):
        label, *cells = row.removeprefix(entry.label).split()
        assert label == measure
        apart, together, gain, one_by_one, at_once, fewer = map(float, cells)
        assert min(apart, together) > 0
        assert gain == pytest.approx(apart / together, rel=0.02)
        # Three networks at once take fewer operations than two of them one by one.
        assert at_once < one_by_one * 2 / 3
        assert fewer == pytest.approx(one_by_one / at_once, abs=0.01)


@pytest.mark.parametrize(
    "entry",
    [Entry("deit_tiny_patch16_224", 32, {"attention": "hallucinated"}), Entry("resnet10t", 32)],
)
def test_networks_are_of_the_size_that_is_said(entry: Entry) -> None:
    model = entry.build()
    assert entry.label.startswith(entry.name)
    assert ("hallucinated" in entry.label) == (entry.parts is not None)
    if hasattr(model, "patch_embed"):
        assert model.patch_embed.img_size == (32, 32)
