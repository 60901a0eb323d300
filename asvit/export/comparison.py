"""Whether an exported copy does what the network does: found out in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from asvit.export.formats import Format

#: The largest difference allowed, over the largest output; ours.
TOLERANCE: Final = 1e-4


@dataclass(frozen=True)
class Difference:
    """How far the outputs of a copy are from those of the network, on one batch.

    Attributes:
        batch: Images in it.
        absolute: The largest difference of an output, as the network gives it.
        relative: The same over the largest output of the network, in magnitude.
    """

    batch: int
    absolute: float
    relative: float

    @property
    def equal(self) -> bool:
        """Whether the copy counts as equal; never where an output is no number."""
        return self.relative <= TOLERANCE


def compare(
    model: nn.Module, form: Format, path: Path, *, image_size: int, batches: Sequence[int]
) -> tuple[Difference, ...]:
    """Reload the copy at ``path`` in a fresh process and run both on the same random images.

    Args:
        model: The network, on the CPU and in evaluation mode.
        form: The format of the copy.
        path: The copy.
        image_size: Side of the images in pixels, of three channels of normal noise.
        batches: How many images there are in each batch; a batch for each.

    Raises:
        ValueError: If the network's own outputs are not finite or all 0, so that they say nothing
            of a copy; or those of the copy have another shape.
        ChildProcessError: If the copy cannot be loaded or run; with what it said last.
    """
    generator = torch.Generator().manual_seed(0)
    images = {
        f"{place}": torch.randn(batch, 3, image_size, image_size, generator=generator)
        for place, batch in enumerate(batches)
    }
    with torch.no_grad():
        expected = {name: model(batch) for name, batch in images.items()}
    for outputs in expected.values():
        _check_telling(outputs)
    found = run_copy(form, path, images)
    return tuple(difference(found[name], outputs) for name, outputs in expected.items())


def difference(found: Tensor, expected: Tensor) -> Difference:
    """How far ``found`` is from ``expected``, both ``[batch, classes]``.

    Raises:
        ValueError: If the shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(
            f"the copy gives {tuple(found.shape)} where the network gives {tuple(expected.shape)}"
        )
    absolute = (found.double() - expected.double()).abs().max().item()
    return Difference(len(expected), absolute, absolute / expected.abs().max().item())


def run_copy(form: Format, path: Path, images: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the copy at ``path`` makes of each of ``images``, in a fresh process.

    Raises:
        ChildProcessError: If it cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory(prefix="asvit-export-") as folder:
        given, made = Path(folder, "images.safetensors"), Path(folder, "outputs.safetensors")
        save_file(images, given)
        # -P: a file that lies about where the command is given must not stand in for a library.
        words = [sys.executable, "-P", "-m", "asvit.export.reload"]
        done = subprocess.run(
            [*words, form.name, str(path), str(given), str(made)],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONPATH": _python_path()},
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise ChildProcessError(f"the copy cannot be loaded and run: {said[-1]}")
        return load_file(made)


def _python_path() -> str:
    """Where the fresh process finds us, from a checkout too."""
    ours = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))


def _check_telling(outputs: Tensor) -> None:
    """Make sure that equal outputs would say that the networks are equal."""
    if not outputs.isfinite().all():
        raise ValueError("the network gives NaN or infinity for random images; it cannot be used")
    if not outputs.any():
        raise ValueError(
            "the network gives 0 for every image and class, so that no copy can be proved equal; "
            "train it first"
        )
