"""An extension: a measure or a training keeps a node of a Ray cluster busy until it is killed."""

import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from proxies import register_measure

ORDERED = Path(os.environ["HALF_WAY"]) / "ordered"  # by the run: names the node that is to die
BUSY = ORDERED.with_name("busy")  # by that node: it has a task that it will not finish
PATIENCE = 300.0  # seconds


def hold() -> None:
    """Once a node is to die, let nothing end before it has a task that it is killed over."""
    if ORDERED.exists() and not BUSY.exists():
        import ray

        if ray.get_runtime_context().get_node_id() == ORDERED.read_text():
            BUSY.touch()
            time.sleep(PATIENCE)
            raise RuntimeError("the node was not killed")
        wait_for(BUSY)  # else this node might do all that is left


@register_measure("parameters, after a node has died", better="reported", undefined="never")
def node_dies(model: nn.Module) -> float:
    """Count the parameters."""
    hold()
    return float(sum(p.numel() for p in model.parameters()))


class HeldAdamW(torch.optim.AdamW):
    """The optimizer of trainings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        hold()
        super().__init__(*args, **kwargs)


torch.optim.AdamW = HeldAdamW


def order(node: str) -> None:
    """Say which node is to die, all at once for those who read it."""
    draft = ORDERED.with_suffix(".draft")
    draft.write_text(node)
    draft.replace(ORDERED)


def again() -> None:
    """Forget the node that died."""
    ORDERED.unlink()
    BUSY.unlink()


def wait_for(file: Path) -> None:
    """Wait until a file is there.

    Raises:
        RuntimeError: If it does not come.
    """
    end = time.monotonic() + PATIENCE
    while not file.exists():
        if time.monotonic() > end:
            raise RuntimeError(f"nobody wrote {file.name}")
        time.sleep(0.05)
