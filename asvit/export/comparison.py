"""Verifies an exported copy: compares its outputs with the network's, in a new process."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from asvit.core.processes import module_process
from asvit.export.formats import Format

#: Largest allowed difference over the largest output. Our choice.
TOLERANCE: Final = 1e-4

#: What a copy is given, and the network: the same, but where the copy prepares pictures.
Example = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Difference:
    """Difference between the outputs of a copy and of the network, on one batch."""

    batch: int  # number of images
    absolute: float  # largest absolute difference of an output
    relative: float  # the same over the network's largest absolute output

    @property
    def equal(self) -> bool:
        """Whether the copy counts as equal; False if an output is NaN."""
        return self.relative <= TOLERANCE


def noise(shape: Sequence[int], batches: Sequence[int]) -> Sequence[Example]:
    """Batches of normal noise, each of so many images of a shape."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(batch, *shape, generator=generator) for batch in batches]
    return [(batch, batch) for batch in images]


def compare(
    model: nn.Module, form: Format, path: Path, examples: Sequence[Example]
) -> tuple[Difference, ...]:
    """Reload the copy at ``path`` in a new process and run both on the same images.

    The network is on the CPU and in evaluation mode.

    Raises:
        ValueError: If outputs differ by more than :data:`TOLERANCE`, or would prove nothing.
        ChildProcessError: If the copy cannot be loaded and run.
    """
    images = {str(index): batch for index, (batch, _) in enumerate(examples)}
    with torch.no_grad():
        expected = {str(index): model(batch) for index, (_, batch) in enumerate(examples)}
    for outputs in expected.values():  # equal ones must imply equal networks
        if not outputs.isfinite().all():
            raise ValueError(
                "the network gives NaN or infinity for random images; it cannot be used"
            )
        if not outputs.any():
            raise ValueError(
                "the network gives 0 for every image and class, so that no copy can be verified; "
                "train it first"
            )
    copied = run_copy(form, path, images)
    differences = [difference(copied[name], outputs) for name, outputs in expected.items()]
    for one in differences:
        if not one.equal:
            raise ValueError(
                f"the copy is not equal: on {one.batch} image(s) outputs differ by "
                f"{one.relative:.2g} of the largest, more than {TOLERANCE:g}; nothing was written"
            )
    return tuple(differences)


def difference(outputs: Tensor, expected: Tensor) -> Difference:
    """The difference between ``outputs`` and ``expected``, both ``[batch, classes]``."""
    if outputs.shape != expected.shape:
        raise ValueError(
            f"the copy gives {tuple(outputs.shape)} where the network gives "
            f"{tuple(expected.shape)}"
        )
    absolute = (outputs.double() - expected.double()).abs().max().item()
    return Difference(len(expected), absolute, absolute / expected.abs().max().item())


def run_copy(form: Format, path: Path, images: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs of the copy at ``path`` for each batch of ``images``, from a new process."""
    with TemporaryDirectory(prefix="asvit-export-") as folder:
        inputs, outputs = Path(folder, "images.safetensors"), Path(folder, "outputs.safetensors")
        save_file(images, inputs)
        words, environment = module_process("asvit.export.reload")
        done = subprocess.run(
            [*words, form.name, str(path), str(inputs), str(outputs)],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise ChildProcessError(f"the copy cannot be loaded and run: {lines[-1]}")
        return load_file(outputs)
