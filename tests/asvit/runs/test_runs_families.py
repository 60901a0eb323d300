"""Searches of several families, from the command to the tables."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from click.testing import CliRunner

from asvit.cli.app import app
from asvit.runs import reporting
from asvit.runs.search import run_search
from asvit.search import Measurement
from asvit.search.sampler import AgingEvolutionSampler
from asvit.spaces import load_space
from tests.asvit.search.ridge import quick_predictor, ridge_of


def invoke(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["search", *words])
    return done.exit_code, done.output


def test_the_command_trains_what_is_made_by_hand_first_and_says_so(tmp_path: Path) -> None:
    code, output = invoke(
        *("--space", "resnet,convnext", "--controller", "predictor", "--trainings", "6"),
        *("--training-steps", "1"),
        *("--batch-size", "4", "--train-images", "20", "--test-images", "10", "--classes", "2"),
        *("--max-params", "40K", "--device", "cpu", "--out", str(tmp_path)),
    )
    assert code == 0, output
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    families = [load_space("resnet,convnext").family_of(row["architecture"]) for row in rows]
    assert families[:2] == ["resnet", "convnext"]
    assert {*families[2:4]} == {"resnet", "convnext"}
    result = json.loads((tmp_path / "result.json").read_text())
    by_hand = [row["architecture"] for row in result["finalists"] if row["by_hand"]]
    assert {*by_hand} == {row["architecture"] for row in rows[:2]}
    page = (tmp_path / "report.html").read_text()
    assert "resnet, by hand" in " ".join(output.split())
    assert "resnet, by hand" in page


@pytest.mark.parametrize("space", ["resnet,deit,shiftvit", "asvit-parts"])
def test_evolution_changes_what_counts_in_the_parent(
    space: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(text: str) -> Measurement:
        return Measurement(10, 20, {"params": float(crc32(text.encode()))}, {})

    parents: list[str] = []
    choose = AgingEvolutionSampler._parent

    def parent(sampler: AgingEvolutionSampler, *among: Any) -> Any:
        params = choose(sampler, *among)
        parents.append(str(load_space(space).decode(params)))
        return params

    monkeypatch.setattr(AgingEvolutionSampler, "_parent", parent)
    given: dict[str, Any] = {"space": space, "proxies": ["params"], "evaluate": evaluate}
    result = run_search(controller="evolution", steps=90, out=tmp_path, **given)
    children = [row.architecture for row in result.trials[50:]]
    assert len(children) == len(parents) == 40
    assert all(child != parent for child, parent in zip(children, parents, strict=True))


def test_the_family_that_leads_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = {"shiftvit": 60.0, "resnet": 80.0, "deit": 40.0, "convnext": 70.0}
    space, seeds = load_space(",".join(levels)), iter(range(100))
    quick_predictor(monkeypatch.setattr, ridge_of(space), spread=256)
    monkeypatch.setattr(reporting, "write_report", lambda *_: None)

    def evaluate(text: str) -> Measurement:
        params = space.encode(space.parse(text))
        places = [space.dimensions[name].index(params[name]) for name in space.active(params)]
        noise = np.random.default_rng(next(seeds)).standard_normal()
        accuracy = levels[str(params["family"])] + float(np.mean(places) + noise)
        return Measurement(10, 20, {"accuracy": accuracy}, {})

    result = run_search(
        space=space.name, controller="predictor", trainings=24, out=tmp_path, evaluate=evaluate
    )
    families = Counter(space.family_of(row.architecture) for row in result.trials[8:])
    assert result.finalists[0].family == families.most_common()[0][0] == "resnet"
