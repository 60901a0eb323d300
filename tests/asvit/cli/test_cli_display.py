"""The lines of the progress display: when they come, and what they say."""

import pytest

from asvit.cli.display import Lines
from asvit.progress import Progress


def written(capsys: pytest.CaptureFixture[str], *progress: Progress) -> list[str]:
    lines = Lines("training")
    for one in progress:
        lines(one)
    return capsys.readouterr().err.splitlines()


def test_lines_come_at_the_start_and_every_twentieth(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [Progress("step", n, 100, 40, n - 40.0, "loss 1") for n in range(41, 61)]
    first, *lines = written(capsys, *steps)
    assert first == "training; resuming after step 40"
    counts = [line.split()[1] for line in lines]
    assert counts == ["41/100", "45/100", "50/100", "55/100", "60/100"]
    assert lines[0] == "step 41/100  1 s each  ETA 0:59  loss 1"


def test_another_unit_starts_anew(capsys: pytest.CaptureFixture[str]) -> None:
    lines = written(
        capsys,
        Progress("path", 10, 10, 0, 1.0, "best b"),
        Progress("training step", 1, 100, 0, 1.0, "loss 1"),
        Progress("training step", 2, 100, 0, 2.0, "loss 1"),
    )
    assert [line.partition("  ")[0] for line in lines] == [
        "training",
        "path 10/10",
        "training step 1/100",
    ]
