"""Converted networks: counts, weights kept, merging, sizes, and what is refused."""

from typing import get_args

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import asvit
from asvit.models import ShiftViT, convert, merge
from asvit.models.convert import BranchedMap, compact_width
from asvit.models.hallucinated import HallucinatedHeads, Maps, split_heads
from asvit.networks import Network
from proxies.counts import Cost, count
from tests.asvit.models.families import HOSTS, deit, pyramid, with_statistics

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
# Parameters and multiply-adds of the merged network at 224 px; with fvcore's charges for norms,
# the multiply-adds are 1,806,446,592, 5,126,506,124 and 1,026,155,292. Exact.
COUNTS = [
    ("pvt_v2_b1", "hallucinated", "compact", "double_odd", 12_158_368, 1_794_529_792),
    ("nextvit_small", "hallucinated", "compact", "double_odd", 27_255_715, 5_110_405_900),
    ("deit_tiny_patch16_224", "hallucinated", "compact", "double_odd", 4_680_040, 1_021_427_292),
]


def converted(name: str, **settings) -> nn.Module:
    """A converted model whose batch norms have non-trivial statistics."""
    torch.manual_seed(0)
    return with_statistics(convert(HOSTS[name][0](), "hallucinated", "compact", **settings))


def image_of(name: str, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, *HOSTS[name][1], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", HOSTS)
@torch.no_grad()
def test_merging_changes_nothing_but_the_size(name):
    model = converted(name)
    merged = merge(model)
    assert not any(isinstance(part, BranchedMap) for part in merged.modules())
    assert any(isinstance(part, BranchedMap) for part in model.modules())
    assert sum(p.numel() for p in merged.parameters()) < sum(p.numel() for p in model.parameters())
    x = image_of(name)
    torch.testing.assert_close(merged(x), model(x), rtol=0, atol=1e-5)
    assert merge(model, inplace=True) is model
    torch.testing.assert_close(merged(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", HOSTS)
def test_what_keeps_its_shape_keeps_its_weights(name):
    base = HOSTS[name][0]()
    before = {n: t.clone() for n, t in base.state_dict().items()}
    model = convert(base, "hallucinated", "compact")
    assert base.state_dict().keys() == before.keys()
    after = model.state_dict()
    replaced = ("attn.q", "attn.k", "e_mhsa.q.", "e_mhsa.k.", "fc2.")
    for key, tensor in before.items():
        assert torch.equal(base.state_dict()[key], tensor)
        if not any(part in key for part in replaced):
            assert torch.equal(after[key], tensor), key
    for path, part in model.named_modules():
        if isinstance(part, HallucinatedHeads):  # values come last
            old = next(
                before[key] for n in ("qkv", "kv", "v") if (key := f"{path}.{n}.weight") in before
            )
            assert torch.equal(part.v.weight, old[-len(part.v.weight) :])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: convert(deit()), "nothing to convert; ask for attention='hallucinated'"),
        (lambda: convert(deit(), "dense"), "attention='dense' is not one of 'hallucinated', None"),
        (lambda: convert(nn.Linear(3, 3), ffn="compact"), "Linear has no feed-forward part"),
        (
            lambda: convert(ShiftViT(depths=(1, 1, 1, 1), width=24, ratio=1), ffn="compact"),
            "ShiftViT has no feed-forward part with two maps, fc1 to more channels and fc2 back",
        ),
        (lambda: convert(deit(qk_norm=True), "hallucinated"), "only plain attention can be"),
        (lambda: convert(pyramid(linear=True), "hallucinated"), "only plain attention can be"),
        (lambda: convert(deit(embed_dim=27), "hallucinated"), "^6 heads in place of 3 do not"),
        (lambda: convert(deit(), "hallucinated", heads="half"), "heads='half' is not one of"),
        (
            lambda: convert(convert(deit(), "hallucinated"), "hallucinated"),
            "attention that can be replaced; .* not converted yet",
        ),
        (
            lambda: convert(convert(deit(), None, "compact"), None, "compact"),
            "feed-forward part .* not compact yet",
        ),
        (lambda: convert(asvit.build(SEED, 32), "hallucinated"), "AsViT has no attention that"),
        (lambda: convert(deit(), None, "compact", kept=0.25), "^kept=0.25 is a setting of a part"),
        (
            lambda: convert(deit(), None, "compact", maps="typo"),
            "^maps='typo' is a setting",
        ),
        (lambda: convert(deit(), "hallucinated", ratio=0.5), "^ratio=0.5 is a setting of a part"),
        (lambda: convert(deit(), "hallucinated", branches=-3), "branches must be at least 0, got"),
        (lambda: compact_width(8, 4, ratio=float("inf")), "positive and finite, got inf"),
        (lambda: compact_width(8, 4, ratio=0.01), "ratio=0.01 leaves no channel between 8 and 4"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "row"), [("deit_tiny_patch16_224", 2), ("pvt_v2_b1", 0), ("nextvit_small", 1)]
)
def test_merged_from_the_start_they_have_the_published_savings(name, row):
    assert COUNTS[row][0] == name
    name = f"hallucinated_{name}"
    with torch.device("meta"):
        model = timm.create_model(name, branches=0)
    assert count(model) == Cost(*COUNTS[row][4:])
    assert model.default_cfg["architecture"] == name


@pytest.mark.parametrize(
    ("expansion", "width", "between"),
    [(4, 192, 102), (4, 384, 205), (8, 64, 38), (8, 128, 76), (4, 320, 171), (3, 96, 48)],
)
def test_channels_between_the_factors(expansion, width, between):
    assert compact_width(expansion * width, width) == between


@pytest.mark.parametrize("branches", [1, 2, 3])
@pytest.mark.parametrize("images", [False, True])
@torch.no_grad()
def test_merging_is_exact(branches, images):
    x = torch.randn(4, 12, 5, 3) if images else torch.randn(4, 5, 3, 12)
    layer = with_statistics(BranchedMap(12, 7, branches, images=images))
    expected, state = layer(x), torch.get_rng_state()
    merged = layer.merged()
    assert torch.equal(torch.get_rng_state(), state)
    assert not merged.training
    torch.testing.assert_close(merged(x), expected, rtol=0, atol=1e-5)


@given(
    st.sampled_from(get_args(Maps)),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    st.sampled_from(["double_odd", "double"]),
    st.sampled_from(["first", "second", None]),
    st.sampled_from([0.5, 2 / 3]),
)
@settings(max_examples=12, deadline=None)
def test_combinations_of_hallucination_count_as_their_shapes(
    maps: str, kept: float, heads: str, factored: str | None, ratio: float
) -> None:
    network = Network(
        "timm:deit_tiny_patch16_224(depth=1,embed_dim=24)", 32, 3,
        attention=f"hallucinated(heads={heads},kept={kept},maps={maps})",
        ffn=factored and f"compact(factored={factored},ratio={ratio})",
    )  # fmt: skip
    model = network.build()
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)
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
