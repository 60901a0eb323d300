"""Tiny networks of every kind, and copies of them run without a process of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from asvit.export import exporting, reload, writers
from asvit.export.formats import Format
from asvit.models import convert, merge
from asvit.networks import Network, WeightsFile
from tests.asvit.models.families import PARTS

SHIFT = Network("shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=3)
SIDE = 32  # pixels
CLASSES = 3


def as_file(network: Network) -> tuple[nn.Module, WeightsFile]:
    """A freshly initialised network, in evaluation mode, and the same as a file of weights."""
    model = network.build().eval()
    return model, WeightsFile(network, model.state_dict())


def _of_text(text: str) -> nn.Module:
    return Network(text, SIDE, CLASSES).build()


def _deit(depth: int = 1) -> nn.Module:
    model: nn.Module = timm.create_model(
        "deit_tiny_patch16_224", img_size=SIDE, num_classes=CLASSES, depth=depth
    )
    return model


def _pvt() -> nn.Module:
    model: nn.Module = timm.create_model(
        "pvt_v2_b0", num_classes=CLASSES, depths=(1, 1, 1, 1), embed_dims=(8, 16, 40, 64)
    )
    return model


def _hallucinated() -> nn.Module:
    return convert(_deit(), attention="hallucinated")


def _merged() -> nn.Module:
    """Branches whose batch norms have seen something, so that merging them does something."""
    model = convert(_deit(), ffn="compact", branches=2)
    model.train()(torch.randn(4, 3, SIDE, SIDE))
    return merge(model.eval())


#: Those of the first are quick to export; the others are more of the same kinds.
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "asvit": lambda: _of_text("8,2,3|4,1,2|4,1,4|4,1,6|32,8"),
    "shiftvit": lambda: _of_text(SHIFT.architecture),
    "psvit1d": lambda: _of_text("psvit1d:s-----|b-----|------"),
    "psvit2d": lambda: _of_text("psvit2d:s-----|b-----|------"),
    "deit, hallucinated": _hallucinated,
    "deit, merged compact": _merged,
}
MORE: dict[str, Callable[[], nn.Module]] = {
    "asvit, parts": lambda: _of_text(f"4,2,3|4,1,2|4,1,4|4,1,6|32,8;{PARTS}"),
    "asvit, positions": lambda: _of_text("4,2,3|4,1,2|4,1,4|4,1,6|32,8;positions=absolute"),
    "pit": lambda: _of_text("pit:10,4|1,1,1|1,2,4"),
    "autoformer": lambda: _of_text("autoformer:48|3,4|3.5,4"),
    "pvt, both": lambda: convert(_pvt(), attention="hallucinated", ffn="compact"),
    "shiftvit, ablated": lambda: _of_text(
        "timm:shiftvit_r2_tiny(act_layer=relu,depths=[1,1,1,1],norm_layer=batchnorm2d,step=2,width=16)"
    ),
    "psvit1d, ablated": lambda: _of_text(
        "timm:psvit_1d_tiny(cells=[b,s,b],dims=[12,16,24],patch_size=8,global_pool=avg)"
    ),
    "psvit2d, ablated": lambda: _of_text(
        "timm:psvit_2d_tiny(cells=[b,s,b],dims=[12,12,12],heads=[3,3,3])"
    ),
    "deit, ablated": lambda: _of_text(
        "timm:hallucinated_deit_tiny_patch16_224(depth=1,factored=first,kept=0.25,maps=across_within)"
    ),
    "deit, branches": lambda: convert(_deit(), ffn="compact", branches=2),
}


@contextmanager
def graphs_traced_once() -> Iterator[None]:
    """The ONNX graph of a network that was exported before is not traced again, for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (exporting, writers):
            patch.setattr(module, "graph_of", _graph_of)
        yield


_trace = writers.graph_of
_GRAPHS: dict[object, Any] = {}


def _graph_of(model: nn.Module, content: WeightsFile, *, batch: int | None = None) -> Any:
    digest = sha256(save(dict(model.state_dict()))).digest()
    key = (str(content.network), digest, batch)
    if key not in _GRAPHS:
        _GRAPHS[key] = _trace(model, content, batch=batch)
    return _GRAPHS[key]


def run_in_this_process(form: Format, path: Path, images: dict[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`asvit.export.comparison.run_copy` gives, without its fresh process."""
    given, made = path.with_name("given.safetensors"), path.with_name("made.safetensors")
    save_file(images, given)
    reload.main([form.name, str(path), str(given), str(made)])
    outputs = load_file(made)
    given.unlink()
    made.unlink()
    return outputs
