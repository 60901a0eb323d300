"""Processes of ours import what this process may, not what lies where the user stands."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asvit.core.processes import imports_here, module_process
from asvit.executors import Work, Workers, on_ray, open_pool

HOSTILE = "open(__file__ + '-ran', 'w').close(); raise ImportError(__file__)"
LIBRARIES = (
    "torch",
    "numpy",
    "json",
    "safetensors",
    "asvit",
    "optuna",
    "click",
    "multiprocessing",
)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with files that have the names of libraries."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in LIBRARIES:
        (folder / f"{name}.py").write_text(HOSTILE)
    monkeypatch.chdir(folder)
    return folder


def ran(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*-ran"))


def test_workers_do_not_import_from_the_working_directory(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "executors")
    work = Work("fake_workers:Fake", {})
    with open_pool(Workers(jobs=1), work, "cpu") as pool:
        ((_, answer),) = pool.run([{"a": 1, "b": 2}])
    assert answer.result["sum"] == 3
    assert ran(hostile) == []


def test_a_process_imports_from_where_this_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As `python -m` puts the working directory of a checkout there, or PYTHONPATH=. one's own.
    (tmp_path / "mine.py").write_text("print('mine')")
    assert not imports_here()
    for folder in ("", "."):
        monkeypatch.setattr(sys, "path", [folder, *sys.path])
        words, environment = module_process("mine")
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "mine\n"
        assert imports_here()


@pytest.mark.parametrize("here", [False, True])
def test_workers_on_ray_import_from_the_working_directory_only_if_this_process_does(
    here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray: Any = pytest.importorskip("ray", reason="ray is not installed")
    if here:
        monkeypatch.syspath_prepend(str(tmp_path))
    left_out = []

    def init(**_: object) -> None:
        left_out.append(ray.job_config.JobConfig()._runtime_env_has_working_dir())

    fake = SimpleNamespace(_private=ray._private, job_config=ray.job_config, init=init)
    on_ray._connect(fake, "auto")
    assert left_out == [not here]
    assert not ray.job_config.JobConfig()._runtime_env_has_working_dir()
