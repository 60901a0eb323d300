"""The script that times the shift beside other ways to write it."""

import pytest
from run_script import Script

from experiments import bench_shift


def test_every_way_is_timed_in_either_format(script: Script) -> None:
    printed = script(bench_shift.main, "--batch 1 --runs 1").splitlines()
    for way in bench_shift.WAYS:
        lines = [line for line in printed if line.startswith(way)]
        assert len(lines) == 2
        assert all(line.count("|") == 4 for line in lines)
    assert [line.split(":")[0] for line in printed if "forward |" in line] == [
        "contiguous_format",
        "channels_last",
    ]


def test_a_way_that_gives_other_numbers_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    monkeypatch.setitem(bench_shift.WAYS, "wrong", lambda x: x.roll(1, 3))
    with pytest.raises(RuntimeError, match="wrong gives other numbers"):
        script(bench_shift.main, "--batch 1 --runs 1")
