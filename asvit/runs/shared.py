"""What runs have in common that train a network by one process or several."""

from __future__ import annotations

import re

from asvit.core.settings import setting, setting_of, settings_class
from asvit.core.shared_settings import MeasuringSettings
from asvit.runs.run_folder import RunOptions


@settings_class
class SharedOptions(RunOptions):
    """Options of a run whose processes, started by accelerate or torchrun, share every batch."""

    device: str = setting_of(MeasuringSettings, "device", repeats=False)
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


def folder_name(command: str, network: str, image_size: int, seed: int) -> str:
    """The name of a folder, after the network, the image size and the seed."""
    text = re.sub("[^A-Za-z0-9.]+", "-", network)[:200].rstrip("-")
    return f"{command.split()[-1]}-{text}-{image_size}px-seed{seed}"
