"""Networks as pyramids of feature maps."""

import math
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

import asvit
from asvit.networks import Network, WeightsFile
from asvit.networks.pyramid import (
    backbone,
)

AS_VIT = "8,4,2|4,4,2|2,1,2|2,1,2|16,16"
GROWN = "4,2,2,2|2,2,2,1|2,1,2,1|2,1,2,1|16,16"
WINDOWED = "8,4,2|4,2,2|2,1,2|2,1,2|16,16"
SHIFT_VIT = "shift:1,1,1,1|2|12|1|24"
GRIDS = "psvit2d:b-----|b-----|b-----|16"
PIT = "pit:16,2|1,1,1|1,2,4"
SWIN = "timm:swin_tiny_patch4_window7_224(depths=[1,1,1,1],embed_dim=24)"


@pytest.mark.parametrize(
    "arch", [AS_VIT, GROWN, SHIFT_VIT, SWIN, "timm:convnext_atto", "timm:resnet10t", GRIDS]
)
def test_maps_of_all_strides_from_4_on(arch: str) -> None:
    pyramid = backbone(arch, 64)
    maps = pyramid(torch.randn(2, 3, 64, 96))
    assert pyramid.strides == ((8, 16, 32) if arch == GRIDS else (4, 8, 16, 32))
    assert list(maps) == ["0", "1", "2", "3"][: len(pyramid.strides)]
    assert [tuple(level.shape) for level in maps.values()] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(pyramid.channels, pyramid.strides, strict=True)
    ]
    assert pyramid.out_channels == pyramid.channels[-1]


@pytest.mark.parametrize("arch", [AS_VIT, SHIFT_VIT, GRIDS])
def test_any_size_is_padded_and_the_maps_are_cut_back(arch: str) -> None:
    pyramid = backbone(arch, 64).eval()
    for size in ((33, 40), (100, 64), (31, 95)):
        image = torch.randn(1, 3, *size)
        padded = torch.zeros(1, 3, *(math.ceil(side / 32) * 32 for side in size))
        padded[..., : size[0], : size[1]] = image
        maps, whole = (pyramid(one).values() for one in (image, padded))
        for level, large, stride in zip(maps, whole, pyramid.strides, strict=True):
            rows, columns = (math.ceil(side / stride) for side in size)
            assert torch.equal(level, large[..., :rows, :columns])


def test_gradients_with_and_without_checkpointing_agree() -> None:
    image = torch.randn(1, 3, 64, 64)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        pyramid = backbone(AS_VIT, 64, grad_checkpointing=checkpointing).train()
        sum(level.square().sum() for level in pyramid(image).values()).backward()
        gradients.append([p.grad for p in pyramid.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize("arch", [AS_VIT, SHIFT_VIT, GRIDS])
def test_weights_of_a_classifier(arch: str, tmp_path: Path) -> None:
    network = Network(arch, image_size=64, num_classes=7)
    model = network.build().eval()
    file = tmp_path / "weights.safetensors"
    WeightsFile(network, model.state_dict()).write(file)
    maps = backbone(arch, 64, weights=file).eval()(image := torch.randn(1, 3, 64, 64))
    expected = model.forward_intermediates(image, intermediates_only=True)
    for level, wanted in zip(maps.values(), expected, strict=True):
        assert torch.equal(level, wanted)


def test_learned_positions_are_resampled_for_another_image_size(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    model = asvit.build(GRIDS, 64).eval()
    save_file(model.state_dict(), file)
    pyramid = backbone(GRIDS, 96, weights=file).eval()
    maps = pyramid(image := torch.randn(1, 3, 96, 96))
    expected = model.forward_intermediates(image, intermediates_only=True)
    torch.testing.assert_close(list(maps.values()), expected)


@pytest.mark.parametrize("other", [GROWN, "8,4,2|4,4,2|2,1,2|2,1,2|16,24"])
def test_weights_of_another_network(other: str, tmp_path: Path) -> None:
    save_file(asvit.build(other, 64).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"the weights in .* do not fit the network") as refusal:
        backbone(AS_VIT, 64, weights=tmp_path / "weights.safetensors")
    assert "\n" not in str(refusal.value)


def test_converted_networks() -> None:
    network = Network(SHIFT_VIT, image_size=64, ffn="compact", branches=2)
    assert backbone(network).strides == (4, 8, 16, 32)
    for image_size, side in ((None, 64), (96, 96)):
        assert backbone(Network(PIT, 64), image_size).fixed_size == side
    with pytest.raises(ValueError, match="drop_path is set when a network is built"):
        backbone(network.build(), drop_path=0.1)


def test_windows_of_an_as_vit_are_multiplied() -> None:
    torch.manual_seed(0)
    pyramid = backbone(WINDOWED, 64, windows=2).eval()
    assert [stage.splits for stage in pyramid.body.layers] == [8, 4, 2, 2]
    # The same weights as the architecture of these splits, but for stage 4, which is never split.
    torch.manual_seed(0)
    split = backbone("8,8,2|4,4,2|2,2,2|2,1,2|16,16", 64).eval()
    image = torch.randn(1, 3, 64, 64)
    for level in ("0", "1", "2"):
        assert torch.equal(pyramid(image)[level], split(image)[level])
    assert not torch.equal(pyramid(image)["3"], split(image)["3"])
    assert pyramid(torch.randn(1, 3, 40, 65))["3"].shape[-2:] == (2, 3)


def test_timms_own_feature_extraction_gives_the_same() -> None:
    torch.manual_seed(1)
    theirs = timm.create_model("shiftvit_light_tiny", features_only=True, drop_path_rate=0.0)
    model = timm.create_model("shiftvit_light_tiny", drop_path_rate=0.0)
    ours = backbone(model, 64).eval()
    ours.body.load_state_dict(theirs.model.state_dict())
    image = torch.randn(1, 3, 64, 64)
    for level, wanted in zip(ours(image).values(), theirs.eval()(image), strict=True):
        assert torch.equal(level, wanted)
