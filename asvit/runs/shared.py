"""What runs have in common that train a network by one process or several."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from asvit.core.settings import device_setting, setting
from asvit.runs.run import R, Run, S


@dataclass(kw_only=True)
class SharedRun(Run[S, R, Any]):
    """A run whose processes, started by accelerate or torchrun, share every batch.

    Its network is given as an architecture, or as the folder of a run that ended in one.
    """

    device: str = device_setting(repeats=False)
    workers: int | None = setting(
        None,
        "Processes that prepare images; none for fewer than 2,000 images (on a GPU only where all "
        "epochs together have fewer than 20,000).",
        at_least=0,
        shown="the cores there are, at most 8, of a training on a GPU 32",
        repeats=False,
    )
    checkpoint_minutes: float = setting(
        15.0,
        "Minutes between two checkpoints at most; 0 for none within an epoch.",
        at_least=0,
        repeats=False,
    )

    @classmethod
    def first(cls) -> bool:
        """Whether this is the process that writes and tells."""
        return os.environ.get("RANK", "0") == "0"

    def named(self, network: str) -> str:
        """The name of a folder, after the network, the image size and the seed."""
        settings: Any = self.settings
        text = re.sub("[^A-Za-z0-9.]+", "-", network)[:200].rstrip("-")
        word = self.command.split()[-1]
        return f"{word}-{text}-{settings.image_size}px-seed{settings.seed}"
