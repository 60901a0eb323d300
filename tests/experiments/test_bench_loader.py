import re
import sys

import pytest

from experiments import bench_loader

# timm leaves the files of its pictures to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def test_it_prints_a_ratio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "bench --images 8 --image-size 32 --batch 4 --epochs 1"
    monkeypatch.setattr(sys, "argv", words.split())
    bench_loader.main()
    printed = capsys.readouterr().out
    assert len(re.findall(r"^ +0 +\d+\.\d\d +\d+\.\d\d$", printed, re.MULTILINE)) == 1
    assert re.search(r"^ratio \d\.\d{3}$", printed, re.MULTILINE)
