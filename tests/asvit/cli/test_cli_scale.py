"""``asvit scale`` and its progress, on small settings."""

import math
from pathlib import Path
from typing import Any

import pytest

from asvit.growth import ScaleSettings
from asvit.runs.scaling import ScaleRun
from asvit.runs.scaling import _progress as progress_of
from proxies import Cost, Score
from scaling import Candidate, GrowthEvent, Step
from tests.asvit.cli.commands import RUNS, SEED, check_refused, run, strict


def test_the_steps_of_a_result(finished: Any) -> None:
    data = strict(finished("scale")[1].stdout)
    assert set(data["steps"][0]) == {
        "step", "kind", "architecture", "depths", "width", "measured_width", "params", "macs",
        "length_distortion", "ntk_condition_number", "rank_sum", "chosen", "reason", "candidates",
    }  # fmt: skip
    assert [near["budget"] for near in data["nearest"]] == ["1.5M", "2M"]
    assert 0.98 * 2e6 <= data["params"] <= 2e6


def test_scale_tells_people_on_stderr(finished: Any) -> None:
    _, result = finished("scale")
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"growing {SEED} (--arch) to 2M: 1 network each, 32 px, device cpu")
    steps = [line for line in lines if line.startswith("step ") and "ETA" in line]
    assert len(steps) == len(strict(result.stdout)["steps"])
    assert any(line.startswith("nearest to 1.5M: step ") for line in lines)


def test_options_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ScaleRun] = []

    def stop(run: ScaleRun) -> None:
        seen.append(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(ScaleRun, "run", stop)
    words = ["--preset", "quick", "--stop-within", "1%", "--ratio", "1/2", "--fresh"]
    result = run("scale", "--arch", SEED, *words)
    assert result.exit_code == 130
    wanted = ScaleSettings.make("quick", architecture=SEED, stop_within=0.01, ratio=0.5)
    assert [(one.settings, one.fresh, one.out) for one in seen] == [(wanted, True, None)]
    assert "stopped before its first step; to go on: asvit scale --arch '" in result.stderr
    assert "--fresh" not in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--arch", SEED, "--budget", "88"], 2, "did you mean 88M"),
        (["--arch", SEED, "--budget", "30M,22G"], 2, "two units"),
        (["--arch", SEED, "--budget", "much"], 2, "'much'"),
        (["--arch", "8,2,3|4,1,2"], 2, "part"),
        (["--arch", "timm:resnet18"], 2, "only our spaces can be grown"),
        (["--arch", SEED, "--budget", "100K"], 3, "below the start, which has 1,200,360"),
        (["--arch", SEED, "--budget", "1e14"], 3, "more than 1,000 times"),
        (["--arch", SEED, "--stop-within", "0"], 2, "--stop-within"),
        (["--arch", SEED, "--stop-within", "200%"], 2, "'200%' is not above 0 and at most 1"),
        (["--arch", SEED, "--ratio", "1/0"], 2, "'1/0' is not a share"),
        (["--arch", SEED, "--ratio", "0.01"], 3, "use a larger ratio"),
        (["--arch", SEED, "--proxy", "lenght_distortion"], 2, "did you mean 'length_distortion'"),
        (["--arch", SEED, "--proxy", "gauss_map_length"], 3, "nothing to grow by"),
        (["--arch", SEED, "--preset", "swift"], 2, "use one of default, quick"),
        (["--arch", SEED, "--image-size", "50"], 3, "50"),
        (["--arch", SEED, "--data", "no/such/folder"], 3, "no/such/folder"),
        ([], 3, "run asvit search first"),
    ],
)
def test_bad_values_are_one_line_and_leave_nothing(
    tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    result = run("scale", *args)
    check_refused(result, code, words)
    assert not list(tmp_path.rglob("*.csv")) + list(tmp_path.rglob("*.json*"))


SCORES = {
    "length_distortion": Score(0.25, 0.0, (0.25,), "higher"),
    "ntk_condition_number": Score(1.5, 0.0, (1.5,), "lower"),
}
STEP = Step(2, "grow", Candidate((1, 2, 1, 1), 35, 8, Cost(2_500_000, 10**9), SCORES, 2))


def event(**changes: Any) -> GrowthEvent:
    values = {"step": 2, "measured": 16, "candidates": 16, "chosen": STEP, "done": 0.5}
    return GrowthEvent(**{**values, "seconds": 21.0, "fresh": 30, **changes})


def test_the_state_of_a_step_in_words() -> None:
    words = "depths 1,2,1,1 width 35 (2.50M params, L^E 0.25, kappa 1.5)"
    assert progress_of(event(), [STEP]).state == words
    going_on = progress_of(event(chosen=None, measured=3), [STEP])
    assert going_on.state == f"candidate 3/16  after {words}"


def test_the_time_left_is_a_geometric_series() -> None:
    # 10 + 11 s for two steps, half way: two more take 12.1 + 13.31 s.
    assert progress_of(event(), []).remaining == pytest.approx(25.41)
    for unknown in ({"step": 0}, {"done": 0.0}, {"fresh": 0}):
        assert math.isnan(progress_of(event(**unknown), []).remaining)
    assert progress_of(event(done=1.0), []).remaining == 0.0


def test_making_images_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASVIT_CACHE", str(tmp_path / "cache"))
    fractals = ["--data", "fractal", "--budget", "1.4M", "--stop-within", "20%"]
    result = run(*RUNS["scale"], *fractals, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[0] == "preparing 2 images"
