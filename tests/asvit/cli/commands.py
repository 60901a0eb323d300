"""The program as tests call it, and a small run of every kind."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from asvit.cli.app import app
from asvit.networks import Network, WeightsFile

SEED = "4,8,2|2,4,2|2,2,2|2,1,2|16"
NETS = [f"4,8,{r}|2,4,2|2,2,2|2,1,2|{width}" for r in (2, 4, 6) for width in (16, 32)]
SMALL = ["--repeats", "1", "--images", "2", "--points", "3", "--data", "gaussian"]
TINY = ["--image-size", "32", *SMALL]
TRAINED = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"
QUICK = [
    "--preset", "quick", "--data", "fractal:3", "--train-images", "24", "--validation-images", "9",
    "--image-size", "32", "--epochs", "2", "--batch-size", "8", "--device", "cpu",
]  # fmt: skip
#: Kind -> the command of a small run; words in capitals stand for what others made.
RUNS = {
    "search": ["search", "--space", "asvit-tiny", "--steps", "6", "--recheck", "1", *TINY],
    "scale": ["scale", "--arch", SEED, "--budget", "1.5M,2M", *TINY],
    "correlate": [
        "correlate", "--reference", "TABLE", *SMALL,
        "--proxy", "length_distortion,length_distortion+ntk_condition_number",
    ],
    "supernet train": [
        "supernet", "train", "--preset", "quick", "--classes", "3", "--train-images", "30",
        "--validation-images", "15", "--test-images", "12", "--image-size", "16", "--width", "6",
        "--epochs", "2", "--batch-size", "10", "--device", "cpu",
    ],
    "supernet evolve": [
        "supernet", "evolve", "SUPERNET", "--population", "6", "--generations", "3", "--keep", "2",
        "--crossovers", "2", "--mutations", "2", "--device", "cpu",
    ],
    "train": ["train", TRAINED, *QUICK, "--retokenize", "1/0/1", "--clip", "0"],
    "test": ["test", "PICTURES", "--weights", "WEIGHTS", "--device", "cpu"],
}  # fmt: skip


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def strict(text: str) -> Any:
    """Parse JSON, refusing the NaN and Infinity that Python would let through."""
    return json.loads(text, parse_constant=pytest.fail)


def check_refused(result: Result, code: int, words: str) -> None:
    """Check that a command ended in one line with these words, and wrote nothing on stdout."""
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def write_weights(path: Path) -> Path:
    """An untrained network that knows the classes of :func:`write_pictures`."""
    network = Network("shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=2)
    WeightsFile(network, network.build().state_dict(), ("class0", "class1")).write(path)
    return path


def write_table(path: Path) -> Path:
    """A reference table of one's own."""
    lines = ["# num_classes: 10", "# target: top1 | made up | scratch"]
    lines += ["# noise_ceiling: top1|0.9", "architecture,image_size,top1"]
    lines += [f'"{text}",32,{60 + (place * 5) % 6}' for place, text in enumerate(NETS)]
    path.write_text("\n".join(lines) + "\n")
    return path
