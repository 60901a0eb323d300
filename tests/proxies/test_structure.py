"""Blocks, width and expansions, counted by hand."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

import asvit
from proxies.az_nas import az_expressivity
from proxies.structure import depth, embedding_width, total_expansion
from tests.proxies.networks import MODELS, timm_network

# Depth, width and expansions as the settings in MODELS say; None where there is no such part.
EXPECTED: dict[str, tuple[int, int, float | None]] = {
    "deit_tiny_patch16_224": (2, 48, 8),
    "deit_tiny_distilled_patch16_224": (2, 48, 8),
    "swin_tiny_patch4_window7_224": (6, 12, 24),
    "pvt_v2_b0": (4, 8, 8 + 8 + 4 + 4),
    "pit_ti_224": (3, 16, 12),
    "convnext_atto": (4, 8, 16),
    "resnet18": (8, 8, None),
    "vit_small_patch16_dinov3": (2, 48, 8),
    "crossvit_tiny_240": (2, 96, 8),
    "vit_little_patch16_reg4_gap_256": (2, 48, 2 * 268 / 48),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_are_not_ours(name: str) -> None:
    with torch.device("meta"):
        model = timm_network(name)[0]()
    blocks, width, expansion = EXPECTED[name]
    assert depth(model) == blocks
    assert embedding_width(model) == width
    if expansion is not None:
        assert total_expansion(model) == expansion
    else:
        with pytest.raises(ValueError, match="no block of ResNet has a feed-forward part"):
            total_expansion(model)


ENCODER_LAYER = nn.TransformerEncoderLayer(8, 2, 24, batch_first=True)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: asvit.build("8,2,3,1|4,1,2,1|4,1,4,1|4,1,6,1|32"), (4, 32, 15)),
        (
            lambda: asvit.build("8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180"),
            (14, 180, 15 + 4 + 20 + 12),
        ),
        (lambda: asvit.build("8,2,3|4,1,2|4,1,4|4,1,6|32;mixing=ffn"), (4, 32, 15)),
        (lambda: nn.TransformerEncoder(ENCODER_LAYER, 3, enable_nested_tensor=False), (3, 8, 9)),
        # Two layers that share attention are two blocks.
        (lambda: asvit.build("psvit2d:bbs---|------|b-----|24", 32), (5, 24, 20)),
    ],
)
def test_settings_are_counted(
    build: Callable[[], nn.Module], expected: tuple[int, int, float]
) -> None:
    with torch.device("meta"):
        model = build()
    assert (depth(model), embedding_width(model), total_expansion(model)) == expected


@pytest.mark.parametrize("measure", [depth, embedding_width, total_expansion, az_expressivity])
@pytest.mark.parametrize("name", ["hrnet_w18_small", "convmixer_768_32"])
def test_blocks_that_are_little_of_the_network_are_refused(
    name: str, measure: Callable[..., float]
) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    images = () if measure is not az_expressivity else (torch.randn(2, 3, 64, 64),)
    with pytest.raises(ValueError, match=r"blocks of .* hold [0-9]+% of its parameters"):
        measure(model, *images)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("cait_xxs24_224", 24 + 2),  # those of the class token too
        ("hgnet_tiny", 1 + 1 + 2 + 1),  # no single convolutions
        ("hgnetv2_b0", 1 + 1 + 2 + 1),
    ],
)
def test_blocks_are_all_blocks_and_no_convolutions(name: str, blocks: int) -> None:
    with torch.device("meta"):
        assert depth(timm.create_model(name)) == blocks
