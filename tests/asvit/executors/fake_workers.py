"""Workers for tests: what a task says happens to them."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asvit.executors import Task


class Fake:
    """Adds up; or dies, hangs, runs out of memory or fails, always or once."""

    def __init__(self, settings: Mapping[str, Any], device: str) -> None:
        if settings.get("refuse"):
            raise ValueError("these settings are refused")
        if settings.get("memory"):
            raise MemoryError("no room for the images")
        if settings.get("busy"):
            raise type("AcceleratorError", (RuntimeError,), {})("CUDA error: devices are busy")
        if settings.get("die"):
            os._exit(7)
        self._offset = int(settings["offset"].sum()) if "offset" in settings else 0
        self._device = device

    def __call__(self, task: Task) -> dict[str, Any]:
        once = task.get("once")
        if once is None or not Path(once).exists():
            if once is not None:
                Path(once).touch()
            self._suffer(task.get("fate", ""))
        return {
            "sum": task["a"] + task["b"] + self._offset,
            "device": self._device,
            "pid": os.getpid(),
            "threads": os.environ["OMP_NUM_THREADS"],
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        }

    def _suffer(self, fate: str) -> None:
        if fate == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fate == "exit":
            sys.exit(3)
        elif fate == "hang":
            time.sleep(600)
        elif fate == "memory":
            raise MemoryError("no room for 9 GB")
        elif fate == "bug":
            raise KeyError("never seen before")
        elif fate == "print":
            os.write(1, b"this is no answer\n")
