"""Benchmarks run, at their smallest, and print what they promise."""

import dataclasses
import re
import sys

import pytest
import torch
from run_script import Script

from asvit.training import step_graph
from experiments import (
    bench_cost_growth,
    bench_gpu,
    bench_loader,
    bench_models,
    bench_proxies,
)

# timm leaves the files of its pictures to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def test_bench_prints_ratios_and_speed_ups(script: Script) -> None:
    words = "--topologies 1 --slow 1 --image-size 64 --runs 1 --images 3 --points 4"
    printed = script(bench_proxies.main, words)
    assert "64 px, 4 points, 3 images" in printed
    assert len(re.findall(r"\d+\.\d\dx\)", printed)) == 2
    assert "definitions: L^E" in printed
    assert "mean of ratios over 1 topologies" in printed


def test_loaders_are_timed_with_their_ratio_to_timms(script: Script) -> None:
    printed = script(bench_loader.main, "--images 8 --image-size 32 --batch 4 --runs 1")
    row = r"^\| (.*) \| \d+\.\d\d \| \d+ \| (\d+\.\d\d) \|$"
    ratios = dict(re.findall(row, printed, re.MULTILINE))
    assert len(ratios) == 4
    assert ratios["timm, whole"] == ratios["timm, workers"] == "1.00"


def test_a_model_has_a_cost_and_both_ratios(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    deit = "deit_tiny_patch16_224"
    given = ((deit, deit, {"ffn": "compact"}, True), ("resnet18", "resnet18"))
    monkeypatch.setattr(bench_models, "ENTRIES", [bench_models.Entry(*each) for each in given])
    printed = script(bench_models.main, "--batch 1 --runs 1 --only deit")
    _, heading, row = printed.splitlines()
    assert heading.split() == ["model", "baseline", "MACs", "inference", "training"]
    assert row.startswith("deit_tiny_patch16_224 + compact (channels last)")
    macs, inference, training = map(float, row.split()[-3:])
    # Merged: 4/3 C^2 of about 14 C^2 a token and block go (4 C^2 become 8/3 C^2).
    assert macs == pytest.approx(0.91, abs=0.01)
    assert inference > 0
    assert training > 0


def test_the_table_ends_every_group_in_its_exponents() -> None:
    sizes = {("image_size", side): [float(side**2), 2.0, 3.0, 5.0] for side in (64, 128)}
    lines = bench_cost_growth.table(sizes).splitlines()
    assert lines[2].startswith("| image size in pixels | 64 | 4096.000 | 2.000 | 3.000 | 5.000 |")
    assert lines[-1] == "|  | exponent | 2.00 | 0.00 | 0.00 | 0.00 |"


def test_every_part_of_a_candidate_is_timed() -> None:
    case = bench_cost_growth.Case(image_size=32, width=8, images=2, points=3)
    found = bench_cost_growth.times(case, torch.device("cpu"), 1)
    assert len(found) == len(bench_cost_growth.TIMES)
    assert min(found) > 0


def test_ratios_are_taken_on_any_device(script: Script) -> None:
    script(bench_gpu._options, "--topologies 1 --image-size 32 --runs 1")
    found = bench_gpu._ratios(script.code, torch.device("cpu"))
    assert [one.what for one in found] == [
        "length distortion over a forward pass",
        "condition number over a forward pass",
        "one candidate, 5 networks",
    ]
    assert all(float(one.value.split()[0]) > 0 for one in found)


def test_short_trainings_are_timed_on_any_device(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    fewest: list[int] = []
    monkeypatch.setattr(bench_gpu, "SHORT", dataclasses.replace(bench_gpu.SHORT, steps=1))
    monkeypatch.setattr(bench_gpu, "fit", lambda *_, **__: fewest.append(step_graph.FEWEST))
    script(bench_gpu._options, "--runs 1")
    found = bench_gpu._short(script.code, torch.device("cpu"))
    assert [re.sub(r"\d+\.\d", "1", one.value) for one in found] == ["1 steps/s"] * 4
    assert fewest == [sys.maxsize, step_graph.FEWEST] * 2


def test_trainings_and_networks_are_compared_on_any_device(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    deit = bench_models.Entry("deit_tiny_patch16_224", "deit_tiny_patch16_224")
    monkeypatch.setattr(bench_gpu, "ENTRIES", [deit])
    script(bench_gpu._options, "--all --batch 2 --runs 1 --image-size 32 --device cpu")
    network, *training = [
        *bench_gpu._models(script.code, torch.device("cpu")),
        *bench_gpu._training(script.code),
    ]
    assert network.what == "deit_tiny_patch16_224 over deit_tiny_patch16_224"
    assert re.fullmatch(r"inference \d\.\d\d, training \d\.\d\d", network.value)
    assert [float(one.value.split()[0]) > 0 for one in training] == [True, True]
