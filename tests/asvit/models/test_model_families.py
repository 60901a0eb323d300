"""What holds for every network, plain or converted: gradients, precision, memory, graphs."""

import pytest
import torch
from torch import nn

from asvit.models import AsViT, ShiftViT, convert
from tests.asvit.models.families import HOSTS, PARTS, psvit, with_statistics


def grids(**settings):
    cells = settings.pop("cells", ("b-s", "s", "b"))
    shape = {"pooling": "2d", "img_size": (64, 32), "patch_size": 8, **settings}
    return psvit(cells, (8, 12, 16), (2, 3, 4), **shape)


def listed(**settings):
    return grids(pooling="1d", **settings)


def shiftvit(**settings):
    return ShiftViT(depths=(1, 2, 1, 1), width=24, num_classes=5, **settings)


TINY = "4,4,2|2,2,2|2,1,2|3,1,2|16,16"
TALL, WIDE = (64, 32), (64, 96)
PLAIN = {
    "asvit": (lambda: AsViT("7,4,2|2,2,2|2,1,2|3,1,2|16", num_classes=5), WIDE),
    "asvit, parts": (lambda: AsViT(f"{TINY};{PARTS}", num_classes=5), WIDE),
    "asvit, positions": (lambda: AsViT(f"{TINY};positions=absolute", num_classes=5), WIDE),
    "asvit, compact": (lambda: convert(AsViT(TINY, num_classes=5), ffn="compact"), WIDE),
    "shiftvit": (shiftvit, WIDE),
    "shiftvit, norms": (lambda: shiftvit(norm_layer="batchnorm2d", act_layer="relu"), WIDE),
    "shiftvit, no shift": (lambda: shiftvit(step=0), WIDE),
    "shiftvit, ratio": (lambda: shiftvit(ratio=1.5), WIDE),
    "psvit 1d": (listed, TALL),
    "psvit 1d, mean": (lambda: listed(global_pool="avg"), TALL),
    "psvit 2d": (grids, TALL),
    "psvit 2d, tail": (lambda: grids(cells=("b", "s", "-")), TALL),
    "psvit 2d, middle": (lambda: grids(cells=("s", "-", "b")), TALL),
}
NETWORKS = PLAIN | {
    f"{name}, converted": (lambda make=make: convert(make(), "hallucinated", "compact"), sides)
    for name, (make, sides) in HOSTS.items()
}
every_network = pytest.mark.parametrize("name", NETWORKS)
# bfloat16 against float32: absolute and relative tolerance.
TOLERANCE = {"asvit": (5e-3, 0), "shiftvit": (1e-2, 0)}


def make(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network in evaluation mode, whose batch norms are not trivial, and two images."""
    torch.manual_seed(0)
    build, sides = NETWORKS[name]
    return with_statistics(build()), torch.randn(
        2, 3, *sides, generator=torch.Generator().manual_seed(1)
    )


@every_network
@pytest.mark.parametrize("training", [False, True])
def test_gradients_reach_every_parameter(name, training):
    model, image = make(name)
    logits = model.train(training)(image)
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    # The softmax takes away what biases add to the maps of converted networks.
    dead = {n for n, p in model.named_parameters() if not p.grad.any()}
    assert not dead if name in PLAIN else not any("weight" in n for n in dead)


@every_network
@torch.no_grad()
def test_samples_do_not_interact_in_evaluation(name):
    model, image = make(name)
    torch.testing.assert_close(model(image)[1:], model(image[1:]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "shiftvit",
        *(
            pytest.param(name, marks=pytest.mark.nightly)
            for name in ("asvit", "psvit 1d", "psvit 2d", "deit, converted", "pvt, converted")
        ),
    ],
)
def test_compiles_as_one_graph(name):
    model, image = make(name)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    found = compiled(image)
    torch.testing.assert_close(found, model(image), rtol=1e-4, atol=1e-5)
    found.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
