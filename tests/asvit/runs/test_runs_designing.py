"""Designs: stages that are kept, limits that may change, and one whole run on a few pictures."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import asvit
from asvit.core.answers import read_answers
from asvit.core.run_files import MODEL
from asvit.designs.result import DesignResult
from asvit.designs.stages import Stage
from asvit.runs.designing import DESIGN, design
from asvit.spaces import load_space
from tests.asvit.cli.commands import run
from tests.asvit.runs.designing_fakes import SPACE, TEXTS, Fakes, stored, without_times
from tests.campaigns import forked
from tests.campaigns.kill_runs import shorten_designs

STAGES = [
    *("pictures", "plan", "search", "finalists", "epochs"),
    *("finalist-1", "finalist-2", "finalist-3", "choice"),
    *("training", "test", "latency", "export"),
]


@pytest.mark.parametrize(
    "stop", ["search", "finalist-2", "training", "test training", "export onnx", "latency"]
)
def test_finished_stages_are_not_run_again(
    stop: str, pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    whole = design(pictures, max_params="100K", space=SPACE, out="run")
    every = [*fakes.calls]
    assert fakes.card["limits"] == "at most 100,000 parameters"
    assert fakes.card["latency"].endswith("ms for 1 image(s) by eager, fake, 1 thread")
    (tmp_path / "run").rename(tmp_path / "whole")
    fakes.calls.clear()
    fakes.stop_in(stop, pictures, max_params="100K", space=SPACE, out="run")
    done = [*fakes.calls]
    assert done == every[: len(done)]
    fakes.calls.clear()
    again = design(pictures, max_params="100K", space=SPACE, out="run")
    stage = next(n for n, name in enumerate(every) if name == stop)
    first = next(n for n, name in enumerate(every) if name.split()[0] == stop.split()[0])
    assert fakes.calls == every[first:]
    assert first <= stage
    assert without_times(again) == without_times(whole)
    fakes.calls.clear()
    assert without_times(
        design(pictures, max_params="100K", space=SPACE, out="run")
    ) == without_times(again)
    assert fakes.calls == []
    assert [one.name for one in stored(tmp_path / "run").of(Stage)] == STAGES


def test_time_of_a_session_that_was_killed_in_a_stage_counts(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.ran = 100.0  # seconds of search, finalists and training
    result = design(pictures, max_params="100K", space=SPACE, out=tmp_path)
    assert 500 <= result.wall_seconds < 600
    assert 500 <= stored(tmp_path).seconds < 600


def test_another_limit_goes_on_after_the_search_until_a_network_is_chosen(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    seed = load_space(SPACE).by_hand[0]
    fakes.slow = {text.rpartition("|")[0]: 3.0 for text in (*TEXTS, seed)}
    with pytest.raises(ValueError, match="takes 3 ms, more than 95% of the 2 ms allowed; the sam"):
        design(pictures, max_latency="2ms", max_params="150K", space=SPACE, out=tmp_path)
    assert fakes.calls.count("search") == 1
    result = design(pictures, max_latency="4ms", max_params="200K", space=SPACE, out=tmp_path)
    assert fakes.calls.count("search") == 1
    assert result.latency_ms == 3.0
    assert 150_000 < result.params <= 200_000
    with pytest.raises(ValueError, match=r"was started with max_latency 4.0 \(no"):
        design(pictures, max_latency="5ms", max_params="200K", space=SPACE, out=tmp_path)
    again = design(pictures, max_latency="4ms", max_params="200K", space=SPACE, out=tmp_path)
    assert without_times(again) == without_times(result)


def test_starting_over_that_is_killed_leaves_no_result_without_its_network(
    pictures: Path, tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, Any] = {"max_params": "100K", "space": SPACE, "out": tmp_path}
    design(pictures, **limits)
    model = tmp_path / "training" / MODEL
    model.parent.mkdir(exist_ok=True)
    model.touch()
    unlink = Path.unlink

    def unlink_and_stop(path: Path, **how: bool) -> None:
        unlink(path, **how)
        if path == model:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_and_stop)
        with pytest.raises(KeyboardInterrupt):
            design(pictures, fresh=True, **limits)
    with pytest.raises(ValueError, match=r"but not run\.jsonl; put it back, .* --fresh"):
        design(pictures, **limits)
    fakes.calls.clear()
    design(pictures, fresh=True, **limits)
    assert "training" in fakes.calls


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "a design needs a limit"),
        ({"max_params": 9, "space": SPACE}, "none of 20 architectures drawn is within"),
        ({"max_params": "5 M"}, "'5 M' is not a number from 1"),
        ({"max_latency": "0ms"}, "'0ms' is not a time above 0"),
        ({"max_latency": "5min"}, "'5min' is not a time above 0"),
        ({"max_params": "1M", "hours": 0}, "hours must be a number above 0"),
        ({"max_params": "1M", "space": "nowhere"}, "unknown space 'nowhere'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    given: dict[str, Any], words: str, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        design(pictures, out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_tells_what_is_done_and_writes_nothing(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    words = ["design", "--data", str(pictures), "--max-params", "100K", "--out", tmp_path / "run"]
    words += ["--space", SPACE]
    told = run(*words, "--dry-run", "--json", "--quiet")
    content = json.loads(told.stdout)
    assert (content["pictures"], content["done"], content["next"]) == (20, [], STAGES)
    assert not (tmp_path / "run").exists()
    assert content["seconds"]["search"] == 600
    assert content["seconds"]["training"] == content["seconds"]["finalist-1"] > 0
    told = run(*words, "--dry-run", "--hours", "0.0087", "--image-size", "224")
    assert (told.exit_code, told.stdout) == (3, "")
    assert "hours=0.0087 (0:31) are too few: two epochs of the" in told.stderr
    told = run(*words, "--dry-run", "--hours", "0.008")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "hours=0.008 are too few: tests and copies take 30 s (see" in told.stderr
    assert "time     6 minutes, as --hours" in run(*words, "--dry-run", "--hours", "0.1").stdout
    fakes.stop_in("training", pictures, max_params="100K", space=SPACE, out=tmp_path / "run")
    told = run(*words, "--dry-run")
    assert "time     about " in told.stdout
    assert ": training " in told.stdout
    assert f"done     {', '.join(STAGES[:9])}\n" in told.stdout
    assert "next     training, test, latency, export\n" in told.stdout
    told = run(*words, "--dry-run", "--max-params", "200K")
    assert (told.exit_code, told.stdout) == (3, "")
    assert "was started with" in told.stderr
    told = run("design", "--data", pictures, "--dry-run")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "a design needs a limit; give max_params, max_macs or max_latency" in told.stderr


def test_hours_that_are_too_few_are_refused_before_the_search_and_more_go_on(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    limits = {"max_params": "100K", "space": SPACE, "image_size": 224}
    with pytest.raises(ValueError, match=r"hours=0\.0087 \(0:31\) are too few"):
        design(pictures, hours=0.0087, out=tmp_path, **limits)
    assert fakes.calls == []
    assert design(pictures, hours=0.1, out=tmp_path, **limits).settings.hours == 0.1


@pytest.mark.nightly  # one of images of 5 channels is whole, too; others have int8 and the script
def test_a_whole_design_and_what_its_copies_say(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = {"max_params": "60K", "trainings": 5, "image_size": 32, "device": "cpu",
             "space": "asvit-parts,resnet"}  # fmt: skip
    words = ["design", "--data", str(pictures), "--out", "run", "--int8"]
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    given["int8"] = True
    assert forked.run(forked.command, words, tmp_path, prepare=shorten_designs) == 0
    printed = forked.printed(tmp_path, forked.STDOUT)
    assert "class1/019.jpg" in printed.partition("Pictures that could not be read")[2]
    result = DesignResult.read(out / "result.json")
    assert result.params <= 60_000
    copies = {"timm", "model.onnx", "model.safetensors"}
    if "model-int8.onnx" in result.exports:  # chance decides, with a handful of test pictures
        copies |= {"model-int8.onnx"}
        assert f"of accuracy on {result.test_pictures} pictures" in result.int8
    else:
        assert result.int8.startswith("left out: int8 changes it by -")
    assert f"int8: {result.int8}"[:70] in " ".join(printed.split())
    assert set(result.exports) == copies
    answers = read_answers(out / "predictions.csv")
    for one in answers:
        best = -math.log(one.probability)
        assert one.loss == pytest.approx(best, abs=1e-4) if one.right else one.loss > best - 1e-4
    files = sorted((pictures / "class0").glob("*.jpg"))[:3]
    card = (out / "timm" / "README.md").read_text()
    assert "* limits: at most 60,000 parameters" in card
    mean, interval = result.accuracy, result.accuracy_interval
    told = f"* accuracy: {mean:.1f} % \\[{interval.low:.1f}, {interval.high:.1f}\\] of"
    assert told in card
    assert "* latency: " in card
    by_each = [
        [one.guesses[0].label for one in asvit.predict(out / name, files, device="cpu")]
        for name in (".", "model.onnx", "timm/model.safetensors")
    ]
    assert by_each[0] == by_each[1] == by_each[2]
    told = subprocess.run(
        [sys.executable, "predict.py", "model.onnx", *map(str, files)],
        cwd=out,
        check=True,
        capture_output=True,
        text=True,
    )
    shares = [json.loads(line)["probabilities"] for line in told.stdout.splitlines()]
    assert [max(one, key=one.__getitem__) for one in shares] == by_each[0]
    again = DESIGN.make(data=str(pictures), out=out, **given).run()
    assert again.to_json() == result.to_json()
