"""Screenshots of reports: valid sample runs, and a file for each view."""

import io
from pathlib import Path

import pytest
from PIL import Image
from run_script import Script

from asvit.reference.result import CorrelationResult
from asvit.report.evolution import read_evolution_run
from asvit.report.scale import read_scaling
from asvit.report.search import read_run
from asvit.report.style import PALETTE
from experiments import screenshot_reports
from experiments.browser import DESKTOP, PHONE, missing, open_browser
from experiments.sample_runs import KINDS, write_sample
from experiments.screenshot_reports import VIEWS


def test_the_samples_are_run_folders_of_their_kinds(tmp_path: Path) -> None:
    folders = {kind: write_sample(kind, tmp_path / kind) for kind in KINDS}
    assert read_run(folders["search"]).result
    assert not read_run(folders["search-stopped"]).result
    assert read_scaling(folders["scale"]).result
    assert len(CorrelationResult.read(folders["correlate"] / "result.json").targets) == 2
    assert read_evolution_run(folders["evolution"]).candidates


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_always_the_same(tmp_path: Path, kind: str) -> None:
    first, second = (
        {path.name: path.read_bytes() for path in write_sample(kind, tmp_path / name).iterdir()}
        for name in "ab"
    )
    assert first == second


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_every_view_is_a_file(script: Script) -> None:
    printed = script(screenshot_reports.main, "out --kind search-stopped")
    files = [Path(line) for line in printed.splitlines()]
    names = [f"search-stopped-{view}.png" for view in VIEWS]
    assert [path.name for path in files] == [*names, "search-stopped-paper.pdf"]
    pictures = [Image.open(io.BytesIO(path.read_bytes())) for path in files[:-1]]
    # A bar to scroll with takes a little of a window's width, but not of a phone's.
    assert [round(picture.width, -2) for picture in pictures[:2]] == [round(DESKTOP, -2)] * 2
    assert [picture.width for picture in pictures[2:]] == [PHONE] * 2
    light, dark, *_ = pictures
    assert [sum(of.convert("RGB").getpixel((2, 2))) > 384 for of in (light, dark)] == [True, False]
    card = tuple(int(PALETTE["card"][1][i : i + 2], 16) for i in (1, 3, 5))
    counted = {colour: count for count, colour in dark.convert("RGB").getcolors(1 << 24) or []}
    assert counted[card] > 0.3 * dark.width * dark.height  # figures are dark, too
    assert files[-1].read_bytes().startswith(b"%PDF")


def test_an_unknown_kind_is_refused(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script(screenshot_reports.main, "out --kind training")
    assert "'training'" in capsys.readouterr().err
    assert not Path("out").exists()


def test_without_a_browser_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(FileNotFoundError, match=r"no chromium and no chromedriver on the PATH; D"),
        open_browser(),
    ):
        pass
