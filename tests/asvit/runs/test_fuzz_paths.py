"""Names and links that others made never lead out of the folder of a run."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from asvit.core.files import write_bytes, write_text
from asvit.reference.loading import load_reference
from asvit.reference.settings import CorrelationSettings
from asvit.runs.algorithms import correlation as module
from asvit.runs.correlation import CorrelationRun
from tests.hostile import refused_or

SEEDS = [f"4,2,2|2,1,2|2,1,{i % 4 + 2}|2,1,{i % 3 + 2}|16" for i in range(6)]


@pytest.mark.parametrize("name", ["a b", "$(x)", "a\nb", "<b>", "…", "x" * 240, "-", "..a"])
def test_a_table_of_any_name_has_its_scores_inside_the_run(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"{name}.csv"
    path.write_text("architecture,acc\n" + "".join(f'"{s}",{i}\n' for i, s in enumerate(SEEDS)))
    table = load_reference(path, check=False)
    seen: list[Path] = []

    class Enough(Exception):
        pass

    def run(*_given: object, out: Path, **_named: object) -> None:
        seen.append(out)
        raise Enough

    monkeypatch.setattr(module, "run_correlation", run)
    folder = tmp_path / "run"
    settings = CorrelationSettings(image_size=32)

    class Asked(CorrelationSettings):
        proxies = ("macs",)

    with pytest.raises(Enough):
        module.reliability(folder, table, Asked(**settings.to_json()))
    (out,) = seen
    assert out.parent == folder
    assert re.fullmatch(r"correlate-[A-Za-z0-9_.-]{1,200}", out.name)
    whole = CorrelationRun.algorithm(settings=settings, reference=table).folder
    assert whole.parent == Path("runs")
    assert not set(whole.name) & set("/\\\0\n$<>")


@pytest.mark.parametrize("name", ["report.html", "result.json", "trials.csv"])
@pytest.mark.parametrize(("write", "content"), [(write_bytes, b"x"), (write_text, "x")])
def test_writing_does_not_follow_links(
    tmp_path: Path, name: str, write: Callable[..., None], content: object
) -> None:
    """Somebody's run folder may hold links with the names of files that are to be written."""
    mine = tmp_path / "mine"
    mine.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    for link in (name, f".{name}.part"):
        (folder / link).symlink_to(mine)
        refused_or(lambda: write(folder / name, content))
        assert mine.read_text() == "precious"
        if os.path.lexists(folder / link):
            (folder / link).unlink()
