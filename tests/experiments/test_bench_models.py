"""The script that times the systems beside the models they are compared with."""

import pytest
from run_script import Script

from experiments import bench_models
from experiments.bench_models import Entry


def test_a_row_has_cost_and_both_ratios(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    entry = Entry("deit_tiny_patch16_224", "deit_tiny_patch16_224", {"ffn": "compact"}, True)
    monkeypatch.setattr(bench_models, "ENTRIES", (entry, Entry("resnet18", "resnet18")))
    printed = script(bench_models.main, "--batch 1 --runs 1 --only deit")
    _, heading, row = printed.splitlines()
    assert heading.split() == ["model", "baseline", "MACs", "inference", "training"]
    assert row.startswith("deit_tiny_patch16_224 + compact (channels last)")
    macs, inference, training = map(float, row.split()[-3:])
    # Merged: 4/3 C^2 of about 14 C^2 a token and block go (4 C^2 become 8/3 C^2).
    assert macs == pytest.approx(0.91, abs=0.01)
    assert inference > 0
    assert training > 0
