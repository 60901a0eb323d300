"""Every command on a GPU, at its smallest; other tests run the same commands on the CPU."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import torch
from click.testing import Result

from tests.asvit.cli.commands import RUNS, SEED, run, write_weights
from tests.asvit.runs.fakes import write_pictures
from tests.asvit.transfer.tiny_scenes import DETECTION, SEGMENTATION, make_data

DEVICE = "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def on_the_gpu(words: list[str]) -> list[str]:
    """A command with its device replaced."""
    return [*words, "--device", DEVICE]  # the last one counts


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_of_every_kind(
    kind: str,
    words: Callable[[str], list[str]],
    finished: Callable[[str], tuple[Path, Result]],
    tmp_path: Path,
) -> None:
    if kind == "supernet evolve":
        finished("supernet train")
    *command, _ = words(kind)
    done = run(*on_the_gpu([*command, str(tmp_path / "run")]))
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("kind", ["detect", "segment"])
def test_a_transfer(kind: str) -> None:
    make_data(train=4, validation=2)
    settings = {**(DETECTION if kind == "detect" else SEGMENTATION), "scale": "1,1"}
    arch = str(settings.pop("architecture"))
    options = ([f"--{name.replace('_', '-')}", str(value)] for name, value in settings.items())
    done = run("transfer", kind, arch, *on_the_gpu([*chain(*options), "--out", "run"]))
    assert done.exit_code == 0, done.stderr


def test_a_design_and_what_is_made_of_it() -> None:
    pictures = write_pictures(Path("pictures"), each=20)
    words = ["--max-params", "300K", "--image-size", "32", "--hours", "0.02", "--out", "run"]
    done = run("design", "--data", pictures, *on_the_gpu(words))
    assert done.exit_code == 0, done.stderr
    picture = pictures / "class0" / "000.jpg"
    for command in (
        ["predict", picture, "--weights", "run"],
        ["test", pictures, "--weights", "run"],
    ):
        assert run(*on_the_gpu([str(word) for word in command])).exit_code == 0


def test_a_latency() -> None:
    words = ["cost", SEED, "--image-size", "32", "--latency"]
    assert "ms" in run(*on_the_gpu(words)).stdout


def test_scores_and_predictions() -> None:
    pictures = write_pictures(Path("pictures"), each=4)
    write_weights(Path("weights.safetensors"))
    picture = pictures / "class0" / "000.jpg"
    words = ["predict", str(picture), "--weights", "weights.safetensors"]
    assert run(*on_the_gpu(words)).exit_code == 0
    scored = run(*on_the_gpu(["score", SEED, "--image-size", "32", "--repeats", "2"]))
    assert scored.exit_code == 0, scored.stderr
