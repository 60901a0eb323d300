"""``asvit scale`` and its progress, on small settings."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asvit.networks import Network
from asvit.runs.algorithms.scaling import _progress as progress_of
from asvit.runs.scaling import ScaleRun
from proxies import Cost, Score
from scaling import Candidate, GrowthEvent, Step
from tests.asvit.cli.commands import SEED, TINY, run, strict
from tests.asvit.runs.fakes import fake_scaling

pytestmark = pytest.mark.usefixtures("quick_figures")


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
    # A line for every twentieth of the way, and on a slow machine one a minute.
    steps = [line.split()[1] for line in lines if line.startswith("step ") and "ETA" in line]
    assert steps[-1] == str(strict(result.stdout)["steps"][-1]["step"])
    assert any(line.startswith("nearest to 1.5M: step ") for line in lines)


SCORES = {
    "length_distortion": Score(0.25, 0.0, (0.25,), "higher"),
    "ntk_condition_number": Score(1.5, 0.0, (1.5,), "lower"),
}
STEP = Step(2, "grow", Candidate((1, 2, 1, 1), 35, 8, Cost(2_500_000, 10**9), SCORES, 2))


def event(**changes: Any) -> GrowthEvent:
    values = {"step": 2, "measured": 16, "candidates": 16, "chosen": STEP, "done": 0.5}
    return GrowthEvent(**{**values, "seconds": 21.0, "fresh": 30, **changes})


def test_the_state_of_a_step_in_words() -> None:
    words = "depths 1,2,1,1 width 35 (2.5M params, L^E 0.25, kappa 1.5)"
    assert progress_of(event(), [STEP]).state == words
    going_on = progress_of(event(chosen=None, measured=3), [STEP])
    assert going_on.state == f"candidate 3/16 of step 2  after {words}"
    assert (going_on.done, progress_of(event(), [STEP]).done) == (1, 2)
    small = replace(STEP, chosen=replace(STEP.chosen, cost=Cost(57_380, 107_300)))
    assert "(57.4K params," in progress_of(event(chosen=small), [small]).state


def test_the_time_left_is_a_geometric_series() -> None:
    # 10 + 11 s for two steps, half way: two more take 12.1 + 13.31 s.
    assert progress_of(event(), []).remaining == pytest.approx(25.41)
    for unknown in ({"step": 0}, {"done": 0.0}, {"fresh": 0}):
        assert math.isnan(progress_of(event(**unknown), []).remaining)
    assert progress_of(event(done=1.0), []).remaining == 0.0
    # Those two took an earlier session; this one takes 12.1 s for the third.
    third = event(step=3, done=0.75, seconds=12.1)
    assert progress_of(third, [], 0.21 / 0.4641).remaining == pytest.approx(13.31)


@pytest.mark.parametrize(("given", "classes"), [({}, 4), ({"classes": 7}, 7)])
def test_sizes_are_those_of_the_network_that_is_trained(
    tmp_path: Path, given: dict[str, int], classes: int
) -> None:
    for number in range(4):
        (tmp_path / f"class{number}").mkdir()
        (tmp_path / f"class{number}" / "1.png").touch()
    run = ScaleRun.make(architecture=SEED, budgets="2M", data=str(tmp_path), **given).resolved()
    assert run.settings.classes == classes
    start = run.growable.start
    trained = Network(SEED, 224, classes).build()
    assert run.growable.cost(*start).params == sum(p.numel() for p in trained.parameters())
    plain = ScaleRun.make(architecture=SEED, budgets="2M").resolved()
    assert plain.settings.classes == 1000


@pytest.mark.parametrize(
    ("data", "classes", "words"),
    [
        ("fractal", 7, " --classes 7"),
        ("gaussian", 7, " --classes 7"),  # trained on fractals
        ("fractal:7", 7, " --data fractal:7"),
        ("fractal", 1000, ""),
    ],
)
def test_the_training_that_follows_has_the_classes_that_were_counted(
    data: str, classes: int, words: str
) -> None:
    options = {"architecture": SEED, "budgets": "2M", "data": data, "classes": classes}
    assert ScaleRun.make(**options, out="run").training_command == f"asvit train run{words}"


def test_a_growth_that_ends_further_from_its_budget_says_why_and_has_succeeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_scaling(monkeypatch.setattr)
    options = ["--budget", "2M", "--stop-within", "0.0001%", *TINY, "--out", tmp_path]
    result = run("scale", "--arch", SEED, *options)
    assert result.exit_code == 0, result.stderr
    reason = "not as near as asked: no larger model is within 0.0001% of 2M and can be built"
    assert reason in " ".join(result.stdout.split())


def test_an_architecture_may_stand_at_its_place(tmp_path: Path) -> None:
    given = ["--budget", "2M", "--dry-run", "--json", "--quiet", "--out", tmp_path]
    by_place, by_name = (run("scale", *words, *given) for words in ([SEED], ["--arch", SEED]))
    assert by_place.exit_code == 0, by_place.stderr
    settings = [strict(one.stdout)["settings"] for one in (by_place, by_name)]
    assert settings[0] == settings[1]
    assert settings[0]["architecture"] == SEED
    made = ScaleRun.make(arch=SEED, budgets="2M")
    assert made.command_line() == ScaleRun.make(architecture=SEED, budgets="2M").command_line()
