"""Ray: what it refuses, and a search on a cluster of two nodes, one of which dies half-way."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import asvit
from asvit.core.versions import versions
from asvit.executors import Work, Workers, on_ray, open_pool
from asvit.runs.search import run_search

SETTINGS: dict[str, Any] = {
    "space": "asvit-tiny", "steps": 10, "batch": 4,
    "data": "gaussian", "image_size": 32, "images": 4, "repeats": 3, "points": 5,
}  # fmt: skip

MEASURED = {**SETTINGS, "proxies": ["length_distortion", "ntk_condition_number", "node_dies"]}
TRAINED: dict[str, Any] = {
    "space": "asvit-tiny", "controller": "predictor", "trainings": 12, "training_steps": 4,
    "width": 8, "classes": 3, "train_images": 24, "test_images": 12, "batch_size": 6,
}  # fmt: skip


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    workers = Workers(ray="auto")
    with (
        pytest.raises(ImportError, match=r"--ray needs ray: .*pip install '\.\[ray\]'"),
        open_pool(workers, Work("nothing:there"), "cpu"),
    ):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379"])
def test_a_cluster_that_is_not_there(address: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(ConnectionError, match=f"cannot join the Ray cluster at {address}"):
        run_search(out=tmp_path / "run", workers=Workers(ray=address), **SETTINGS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("library", ["asvit", "torch", "timm", "numpy"])
def test_a_worker_with_other_versions_than_the_run_is_refused(library: str) -> None:
    # The class of the actors, without a cluster: it has what they are sent.
    actor = on_ray._Actor(Work("nothing:there"), "cpu", {**versions(), library: "9.1.0"})
    kind, why = actor.ready()
    assert kind == "refused"
    there = f"{library} 9.1.0 (there {versions()[library]}); install the same ones everywhere"
    assert f"has other versions than this process: {there}" in why


_GPUS = """
import json, sys
import numpy as np, ray
from asvit.executors import Work, Workers
from asvit.executors.on_ray import RayBackend
from asvit.executors.placement import device_of
ray.init(num_gpus=8, num_cpus=2, log_to_driver=False, include_dashboard=False)
workers = Workers(ray="auto")
device = device_of("auto", workers)
work = Work("fake_workers:Fake", {"offset": np.array([0])})
backend = RayBackend(work, "auto", device, jobs=int(sys.argv[1]))
slots = range(backend.slots)
for slot in slots:
    backend.start(slot)
events = [backend.wait(300) for _ in slots]
for slot in slots:
    backend.send(slot, {"a": 1, "b": 2})
answers = [backend.wait(300) for _ in slots]
backend.close()
print(json.dumps({
    "device": device,
    "ready": [event.kind for event in events],
    "gpus": [answer.content["gpus"] for answer in answers],
}))
"""


@pytest.mark.nightly  # starts many processes
@pytest.mark.parametrize(("jobs", "started"), [(5, 5), (24, 8)])
def test_workers_of_a_cluster_have_a_gpu_each(jobs: int, started: int) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(asvit.__file__).parents[1])])
    more = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": path}
    ended = subprocess.run(
        [sys.executable, "-c", _GPUS, str(jobs)],
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    # Ray may warn of many processes behind it.
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("{"))
    outcome = json.loads(line)
    assert outcome["device"] == "cuda"
    assert outcome["ready"] == ["ready"] * started
    assert len(set(outcome["gpus"])) == started
    assert set(outcome["gpus"]) <= set("01234567")


@pytest.mark.nightly  # starts two nodes
def test_searches_on_a_cluster_give_the_same_trials_though_a_node_dies(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    script = Path(__file__).with_name("ray_cluster.py")
    asked = json.dumps({"measured": MEASURED, "trained": TRAINED})
    words = [sys.executable, str(script), str(tmp_path), asked]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("a worker was lost (its actor is gone") == 2
    for file in ("measured/trials.csv", "trained/trials.csv", "trained/trainings.csv"):
        search, name = file.split("/")
        found, expected = (
            (tmp_path / search / run / name).read_bytes() for run in ("ray", "alone")
        )
        assert found == expected, file
