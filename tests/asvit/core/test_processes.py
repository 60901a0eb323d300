"""Processes of ours import what this process may, not what lies where the user stands."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import asvit
from asvit.core.processes import call, imports_here, module_process
from asvit.designs.stages import PictureFacts
from asvit.executors import Work, Workers, on_ray, open_pool
from asvit.runs.designing import DesignRun

ROOT = Path(asvit.__file__).parents[1]
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
    work = Work("fake_workers:Fake", {}, {})
    with open_pool(Workers(jobs=1), work, "cpu") as pool:
        ((_, answer),) = pool.run([{"a": 1, "b": 2}])
    assert answer.result["sum"] == 3
    assert ran(hostile) == []


def test_the_latencies_of_a_design_neither(hostile: Path) -> None:
    run = DesignRun.make(data="pictures", max_params="1M", device="cpu")
    run.results["pictures"] = PictureFacts(classes=["a", "b"], train=10, side=32)
    found = run.plan.latency("4,2,2|2,1,2|2,1,2|2,1,2|16", 32)
    assert found.milliseconds > 0
    assert ran(hostile) == []


TRACKER = """
from multiprocessing import resource_tracker
from asvit.cli import main
from asvit.cli.app import app

def start_tracker(**_):
    resource_tracker.ensure_running()
    resource_tracker._resource_tracker._stop()

app.main = start_tracker
main()
"""


def test_what_libraries_start_for_the_command_neither(hostile: Path, tmp_path: Path) -> None:
    (tmp_path / "asvit").write_text(TRACKER)  # as the script asvit, in its own folder
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, str(tmp_path / "asvit")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
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


def test_an_error_is_told_whatever_its_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "import os\ndef fail():\n  os.write(2, b'gr\\xe9')\n  os._exit(1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ChildProcessError, match=r"^gr\ufffd$"):
        call("mine:fail", environment={"PYTHONUTF8": "1"})


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
