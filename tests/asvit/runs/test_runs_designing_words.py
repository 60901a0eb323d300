"""What a design says: of chance, of lateness, of its pictures and of its stages."""

from pathlib import Path

import pytest
from PIL import Image

from asvit.core.console import duration
from asvit.core.progress import Progress
from asvit.core.run_files import CHECKPOINT, METRICS, MODEL
from asvit.runs.algorithms import designing
from asvit.runs.designing import design
from tests.asvit.runs.designing_fakes import SPACE, Fakes, results_in
from tests.asvit.runs.fakes import write_pictures

LIMIT = {"max_params": "100K", "space": SPACE}
ROUND = ("finalist-1", "finalist-2", "finalist-3")


def test_a_last_round_at_chance_is_no_choice(pictures: Path, tmp_path: Path, fakes: Fakes) -> None:
    fakes.validation = dict.fromkeys(ROUND, 50.0)  # of two classes
    result = design(pictures, out=tmp_path, **LIMIT)
    assert "nothing was chosen, and what was expected to win" in result.outcome
    assert "chosen as" not in result.outcome


def test_a_late_design_leaves_networks_out(
    pictures: Path, tmp_path: Path, race: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(designing, "_LATE", 2.0)
    result = design(pictures, hours=30.0, out=tmp_path, **LIMIT)
    assert [name for name in ROUND if name in race.trained] == ["finalist-1"]
    assert len(result.last_round) == 1


def test_only_stages_with_work_are_told_of(pictures: Path, tmp_path: Path, fakes: Fakes) -> None:
    told = list[Progress]()
    design(pictures, hours=1.0, out=tmp_path, progress=told.append, **LIMIT)
    stages = [one.stage for one in told if one.stage is not None]
    assert not {*ROUND, "search"} & {stage.name for stage in stages}
    last = stages[-1]
    assert (last.name, last.place) == ("export", last.total)


def test_pictures_of_one_colour_are_named(tmp_path: Path, fakes: Fakes) -> None:
    folder = write_pictures(tmp_path / "pictures", each=12)
    Image.new("RGB", (80, 80), (7, 7, 7)).save(folder / "class0" / "black.png")
    result = design(folder, out=tmp_path / "run", **LIMIT)
    assert results_in(tmp_path / "run").pictures.plain == [str(Path("class0", "black.png"))]
    assert any("1 picture nearly of one colour" in line for line in result.remarks)


def test_a_finished_design_keeps_no_weights_of_its_stages(
    pictures: Path, tmp_path: Path, fakes: Fakes
) -> None:
    fakes.stop_in("latency", pictures, out=tmp_path, **LIMIT)
    for stage in ("finalist-1", "training"):
        (tmp_path / stage).mkdir(exist_ok=True)
        for name in (MODEL, CHECKPOINT, METRICS):
            (tmp_path / stage / name).touch()
    (tmp_path / "training" / METRICS).unlink()  # an empty one is no table
    (tmp_path / "finalist-1" / "mine.safetensors").touch()
    design(pictures, out=tmp_path, **LIMIT)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*")}
    assert left == {"finalist-1/metrics.csv", "finalist-1/mine.safetensors"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (40, "40 seconds"), (1500, "25 minutes"), (38177, "10.6 hours"),
     (3.6e6, "1000 hours")],
)  # fmt: skip
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
