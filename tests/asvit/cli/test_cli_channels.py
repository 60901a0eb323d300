"""Commands on images of other channels: what they say, and refuse in one line."""

from pathlib import Path

import pytest

from asvit.spaces import cost
from tests.asvit.cli.commands import run, strict
from tests.asvit.data.array_sets import make_set

ARCH = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("cli") / "set", 5)


def test_cost_counts_channels(five: Path) -> None:
    expected = cost(ARCH, 32, 2, in_chans=5)
    for words in (["--channels", 5, "--classes", 2], ["--data", five]):
        told = run("cost", ARCH, "timm:resnet10t", "--image-size", 32, *words, "--json")
        one, other = strict(told.stdout)["architectures"]
        assert (one["params"], one["macs"], one["channels"]) == (
            expected.params,
            expected.macs,
            5,
        )
        assert sum(part["macs"] for part in one["parts"]) == expected.macs
        assert sum(part["params"] for part in other["parts"]) == other["params"]
    shown = run("cost", ARCH, "--image-size", 32, "--channels", 5, "--classes", 2)
    assert f"{expected.params:,}" in shown.stdout
    assert "32 px, 5 channels, 2 classes" in shown.stdout
    grey = run("cost", ARCH, "--image-size", 32, "--channels", 1)
    assert "32 px, 1 channel, 1000 classes" in grey.stdout
    for wrong in (0, 65):
        refused = run("cost", ARCH, "--channels", wrong)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "--channels" in refused.stderr.splitlines()[-1]
