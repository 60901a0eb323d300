"""``asvit train`` on small settings: what it writes where, and what it says of bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from tests.asvit.cli.commands import QUICK, run
from tests.asvit.cli.commands import TRAINED as ARCH

pytestmark = pytest.mark.usefixtures("quick_figures")


@pytest.fixture
def trained(finished: Any) -> tuple[Path, Result]:
    return finished("train")


def last_line(result: Result) -> str:
    return result.stderr.strip().splitlines()[-1]


def pictures(folder: Path, *, per_class: int = 6, side: int = 40) -> Path:
    """A folder of two classes of pictures."""
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def train_on(folder: Path, *more: str | Path) -> Result:
    asked = ["train", ARCH, "--recipe", "small", "--data", folder, "--image-size", "32"]
    small = ["--epochs", "1", "--batch-size", "4", "--device", "cpu", "--held-out", "0.3"]
    return run(*asked, *small, *more)


def test_it_gives_its_result_as_json(trained: tuple[Path, Result]) -> None:
    _, result = trained
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout, parse_constant=pytest.fail)
    assert [row["epoch"] for row in data["history"]] == [1, 2]
    assert [row["tokens"] for row in data["history"]] == ["(16,5)", "(4,1)"]
    assert data["best"]["epoch"] == 2  # the first was not at the network's own tokens
    assert data["top1"] == data["history"][1]["top1"]
    assert [stage["epochs"] for stage in data["stages"]] == [1, 0, 1]
    assert data["saved"] == pytest.approx((1 - data["stages"][0]["fraction"]) / 2)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    result = run("train", ARCH, *QUICK, "--dry-run", "--json", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert (plan["kind"], plan["dry_run"], plan["steps_per_epoch"]) == ("training", True, 3)
    assert plan["images"] == {"train": 24, "validation": 9}
    assert plan["settings"]["learning_rate"] == 6e-3  # the preset's
    speed, times = plan["time"]["images_per_second"], plan["time"]
    assert speed > 0
    assert times["epoch"] == pytest.approx((24 + 9 / 3) / speed)
    assert times["seconds"] == pytest.approx(2 * times["epoch"])
    staged = ["--retokenize", "1/0/1", "--dry-run", "--out", tmp_path / "run"]
    shown = run("train", ARCH, *QUICK, *staged).stdout
    assert "\ntime: about 0:" in shown
    assert "coarser tokens save" in shown
    assert not (tmp_path / "run").exists()


def test_files_that_are_no_images_are_all_named_before_the_first_epoch(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "data")
    (folder / "cats" / "1.png").write_bytes(b"")
    (folder / "cats" / "5.png").unlink()
    (folder / "cats" / "5.png").symlink_to("nowhere.png")
    (folder / "dogs" / "3.png").write_text("<html>404</html>")
    plan = train_on(folder, "--dry-run", "--out", tmp_path / "run")  # timed by the others
    assert plan.exit_code == 0, plan.stderr
    result = train_on(folder, "--out", tmp_path / "run")
    assert result.exit_code == 3
    told = "3 of 12 images cannot be read; repair or remove them: "
    names = last_line(result).partition(told)[2].split(", ")
    assert sorted(names) == ["cats/1.png", "cats/5.png", "dogs/3.png"]
    assert (
        result.stderr.count("it is not a BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP or AVIF image") == 2
    )
    assert "No such file" in result.stderr
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    (folder / "cats" / "1.png").unlink()
    (folder / "cats" / "5.png").unlink()
    again = train_on(folder, "--out", tmp_path / "run")
    assert last_line(again).startswith("asvit: cannot read image '")
    (folder / "dogs" / "3.png").unlink()
    done = train_on(folder, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.stderr
