"""The papers' ablations as texts: counts, trainings and combinations."""

from typing import get_args

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asvit.models.hallucinated import Maps, split_heads
from asvit.networks import Network
from proxies.counts import count


def trained(network: Network) -> tuple[list[float], nn.Module]:
    """Losses of a few steps on one batch."""
    torch.manual_seed(0)
    model = network.build()
    side = network.image_size
    images, labels = torch.randn(6, 3, side, side), torch.arange(6) % 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(16):  # with stochastic depth, a few may not be enough
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model


@given(
    st.sampled_from(get_args(Maps)),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    st.sampled_from(["double_odd", "double"]),
    st.sampled_from(["first", "second", None]),
    st.sampled_from([0.5, 2 / 3]),
)
@settings(max_examples=12, deadline=None)
def test_combinations_of_hallucination_learn_and_count_as_their_shapes(
    maps: str, kept: float, heads: str, factored: str | None, ratio: float
) -> None:
    network = Network(
        "timm:deit_tiny_patch16_224(depth=1,embed_dim=24)", 32, 3,
        attention=f"hallucinated(heads={heads},kept={kept},maps={maps})",
        ffn=factored and f"compact(factored={factored},ratio={ratio})",
    )  # fmt: skip
    losses, model = trained(network)
    assert min(losses) < losses[0]
    (every, real), width, tokens = split_heads(3, heads, kept), 24, 5
    made, channels = every - real, real * width // every  # of queries, and of keys
    macs = 2 * tokens * width * channels + 2 * tokens * width**2 + tokens**2 * channels
    macs += tokens**2 * width  # maps by values
    if made and "within" in maps:
        grids = made if maps == "across_within" else real
        macs += 9 * grids * tokens * 4  # scores of the class token stay
    if made and "across" in maps:
        macs += real * made * tokens**2
    between = round(ratio * 4 * width / 5)
    mlp = 2 * 4 * width**2
    if factored:
        mlp = 4 * width**2 + between * 5 * width
    patches = 4 * 3 * 16**2 * width
    assert count(model, 32).macs == macs + tokens * mlp + patches + 3 * width
