"""Re-tokenization: paddings, grids, what stays and what follows, on every kind of network."""

import copy

import pytest
import torch

from asvit.models.asvit import AsViT, same_padding
from asvit.models.retokenization import (
    SCHEDULE,
    retokenize,
    token_stages,
    tokens_of,
)
from tests.asvit.models.families import NETWORKS, images, make

COARSE, MIDDLE, FINE = SCHEDULE
# Kernel -> padding (before, after) at (16,5), (8,2) and (4,1): the rule of the specification,
# with every case computed there.
PADDINGS = {
    4: ((0, 0), (0, 0), (0, 0)),
    5: ((2, 3), (0, 1), (0, 1)),
    6: ((5, 5), (1, 2), (1, 1)),
    7: ((7, 8), (2, 3), (1, 2)),
    8: ((10, 10), (3, 4), (2, 2)),
}
CASES = [
    (kernel, tokens, padding)
    for kernel, row in PADDINGS.items()
    for tokens, padding in zip(SCHEDULE, row, strict=True)
]
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.mark.parametrize(("kernel", "tokens", "padding"), CASES)
def test_a_token_is_the_kernel_laid_over_its_pixels(kernel, tokens, padding):
    assert same_padding(kernel, tokens.stride, tokens.dilation) == padding
    model = AsViT(f"{kernel},2,2|2,1,2|2,1,2|2,1,2|16", img_size=32, in_chans=1)
    retokenize(model, tokens)
    stem = model.patch_embed
    image = images(1, 32)[:, :1]
    made = stem.proj(image)[0, 0]
    (stride, dilation), weight, bias = tokens, stem.proj.weight[0, 0], stem.proj.bias

    def token(i, j):  # pixel by pixel
        total = bias[0].double()
        for u in range(kernel):
            for v in range(kernel):
                y = i * stride - padding[0] + u * dilation
                x = j * stride - padding[0] + v * dilation
                if 0 <= y < 32 and 0 <= x < 32:
                    total = total + weight[u, v].double() * image[0, 0, y, x].double()
        return total

    side = 32 // stride
    places = [(0, 0), (0, side - 1), (side // 2, 0), (side - 1, side - 1)]
    wanted = torch.stack([token(*place) for place in places])
    torch.testing.assert_close(
        torch.stack([made[place] for place in places]), wanted.float(), rtol=1e-5, atol=1e-5
    )


def test_stages_of_a_stem_of_stride_4_are_the_published_ones():
    assert SCHEDULE == ((16, 5), (8, 2), (4, 1))
    for name in ("asvit", "shiftvit", "pvt", "convnext"):
        assert token_stages(make(name)) == SCHEDULE
    assert list(map(str, SCHEDULE)) == ["(16,5)", "(8,2)", "(4,1)"]


@every_network
def test_every_stage_runs_and_the_finest_is_the_plain_network(name):
    model, image = make(name), images()
    plain = model(image)
    names, parameters = list(model.state_dict()), list(map(id, model.parameters()))
    weights = copy.deepcopy(model.state_dict())
    kinds, shown = list(map(type, model.modules())), repr(model)
    stages = token_stages(model)
    outputs = []
    for tokens in (*stages, stages[0], stages[2], stages[1], stages[0], stages[-1]):
        retokenize(model, tokens)
        assert tokens_of(model) == tokens
        assert token_stages(model) == stages
        outputs.append(model(image))
        assert outputs[-1].shape == plain.shape
        assert outputs[-1].isfinite().all()
        assert list(model.state_dict()) == names
        assert list(map(id, model.parameters())) == parameters
    for place in (2, 4, 7):
        assert torch.equal(outputs[place], plain)
    assert torch.equal(outputs[0], outputs[3])  # however it got there
    assert torch.equal(outputs[1], outputs[5])
    assert not torch.allclose(outputs[0], plain)
    assert all(torch.equal(model.state_dict()[key], weights[key]) for key in names)
    assert (list(map(type, model.modules())), repr(model)) == (kinds, shown)


@every_network
def test_weights_trained_coarse_load_into_the_plain_network(name):
    model, image = make(name).train(), images()
    retokenize(model, token_stages(model)[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    outputs = model(image)
    total = sum(out.square().mean() for out in outputs) if isinstance(outputs, tuple) else None
    loss = outputs.square().mean() if total is None else total
    loss.backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []
    optimizer.step()
    plain = make(name)
    plain.load_state_dict(model.state_dict())
    retokenize(model.eval(), token_stages(model)[-1])
    assert torch.equal(model(image), plain(image))
    coarse = make(name)
    for tokens in token_stages(coarse):
        retokenize(coarse, tokens)
        coarse.load_state_dict(model.state_dict())
