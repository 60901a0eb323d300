"""The supernet: every path of it is the network of that path alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asvit.architectures.psvit_path import layers_of
from asvit.models.psvit_supernet import PSViTSupernet

KINDS = ("1d", "2d")
SIZES = {"1d": {"img_size": 32, "patch_size": 8}, "2d": {"img_size": 32}}


def make(kind: str, seed: int = 0) -> PSViTSupernet:
    torch.manual_seed(seed)
    net = PSViTSupernet((12, 16, 24), (3, 4, 6), pooling=kind, num_classes=5, **SIZES[kind])
    for name, parameter in net.named_parameters():
        if "norm" in name or name.endswith("bias"):  # initially all alike
            torch.nn.init.normal_(parameter, 0.5, 0.5)
    return net


NETS = {kind: make(kind).eval() for kind in KINDS}
PATHS = st.tuples(*[st.text("bs-", min_size=6, max_size=6)] * 3).filter(
    lambda path: any(map(layers_of, path))
)


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), PATHS)
def test_a_path_is_the_network_of_that_path_alone(kind: str, path: tuple[str, ...]) -> None:
    net = NETS[kind]
    with torch.inference_mode():
        ours, alone = net(images(), path), net.extract(path)(images())
        assert torch.equal(net.on(path)(images()), ours)
    assert ours.shape == (2, 5)
    torch.testing.assert_close(ours, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_uses_its_own_cells_alone(kind: str) -> None:
    net, path = make(kind), ("b-s---", "-b----", "------")
    net(images(), path).sum().backward()
    used = {
        name.rpartition(".")[0].split(".attn")[0].split(".mlp")[0].split(".norm")[0]
        for name, parameter in net.named_parameters()
        if parameter.grad is not None
    }
    cells = {".".join(name.split(".")[:4]) for name in used if name.startswith("cells")}
    assert cells == {"cells.0.0.b", "cells.0.2.s", "cells.1.1.b"}
    others = {".".join(name.split(".")[:2]) for name in used if not name.startswith("cells")}
    # The last stage is empty: neither its pooling nor its norm and head take part.
    assert {name for name in others if not name.startswith("patch_embed")} == {
        "downsamples.1", "norms.1", "heads.1",
    }  # fmt: skip
