"""Names and links that others made never lead out of the folder of a run."""

import re
from pathlib import Path

import pytest

from asvit.reference.loading import load_reference
from asvit.reference.settings import CorrelationSettings
from asvit.runs.algorithms import correlation as module
from asvit.runs.correlation import CorrelationRun

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
