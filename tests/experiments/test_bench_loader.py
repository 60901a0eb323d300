import re

import pytest
from run_script import Script

from experiments import bench_loader

# timm leaves the files of its pictures to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def test_it_prints_a_ratio(script: Script) -> None:
    printed = script(bench_loader.main, "--images 8 --image-size 32 --batch 4 --epochs 1")
    assert len(re.findall(r"^ +0 +\d+\.\d\d +\d+\.\d\d$", printed, re.MULTILINE)) == 1
    assert re.search(r"^ratio \d\.\d{3}$", printed, re.MULTILINE)
