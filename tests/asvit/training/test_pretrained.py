"""Pretrained weights of another image size or for other classes."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import asvit
from asvit.networks import Network, WeightsFile
from asvit.training.pretrained import load_pretrained, weights_path

ARCH = "4,2,2|4,1,2|4,1,2|4,1,2|16,8"


def saved(model: nn.Module, folder: Path) -> str:
    path = folder / "w.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return str(path)


@pytest.mark.parametrize("kind", ["a run folder", "a file of PyTorch's"])
def test_what_weights_are_read_from(tmp_path: Path, kind: str) -> None:
    network = Network(ARCH, 32, 5)
    trained, fresh = network.build(), network.build()
    if kind == "a run folder":  # stands for its trained network
        WeightsFile(network, trained.state_dict()).write(tmp_path / "model.safetensors")
        given, path = tmp_path, tmp_path / "model.safetensors"
    else:
        given = path = tmp_path / "w.pth"
        torch.save({"model": trained.state_dict()}, path)
    assert weights_path(str(given)) == path
    load_pretrained(fresh, str(given), new_head=False)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(fresh.eval()(images), trained.eval()(images))


@pytest.mark.parametrize("arch", [ARCH, "timm:deit_tiny_distilled_patch16_224"])
def test_a_new_head_stays_as_it_was(tmp_path: Path, arch: str) -> None:
    trained, fresh = asvit.build(arch, 32, 5), asvit.build(arch, 32, 7)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    stayed = load_pretrained(fresh, saved(trained, tmp_path), new_head=True)
    heads = {name for name, tensor in before.items() if 7 in tensor.shape}
    assert set(stayed) == heads
    after, theirs = fresh.state_dict(), trained.state_dict()
    for name in after:
        assert torch.equal(after[name], before[name] if name in heads else theirs[name])


@pytest.mark.parametrize(
    ("arch", "smaller", "larger"),
    [
        (ARCH, 32, 32),
        (ARCH, 32, 64),
        ("timm:deit_tiny_patch16_224", 32, 48),
        ("timm:deit_tiny_distilled_patch16_224", 48, 32),
        ("timm:pit_ti_224", 64, 96),
        ("timm:swin_tiny_patch4_window7_224", 64, 128),
    ],
)
def test_the_same_and_another_image_size(
    tmp_path: Path, arch: str, smaller: int, larger: int
) -> None:
    trained, fresh = asvit.build(arch, smaller, 5), asvit.build(arch, larger, 5)
    assert load_pretrained(fresh, saved(trained, tmp_path), new_head=False) == ()
    ours, theirs = fresh.state_dict(), trained.state_dict()
    for name, tensor in theirs.items():
        if ours[name].shape == tensor.shape or smaller == larger:
            assert torch.equal(ours[name], tensor)
    with torch.no_grad():
        assert fresh.eval()(torch.rand(1, 3, larger, larger)).isfinite().all()


def test_position_embeddings_are_resampled_as_timm_does(tmp_path: Path) -> None:
    trained = timm.create_model("deit_tiny_patch16_224", img_size=32, num_classes=5)
    theirs = timm.create_model("deit_tiny_patch16_224", img_size=64, num_classes=5)
    path = saved(trained, tmp_path)
    timm.models.load_checkpoint(
        theirs, path, filter_fn=timm.models.vision_transformer.checkpoint_filter_fn
    )
    ours = asvit.build("timm:deit_tiny_patch16_224", 64, 5)
    load_pretrained(ours, path, new_head=False)
    assert torch.equal(ours.pos_embed, theirs.pos_embed)


def test_other_classes_and_other_networks_are_refused(tmp_path: Path) -> None:
    path = saved(asvit.build(ARCH, 32, 5), tmp_path)
    model = asvit.build(ARCH, 32, 7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="are for 5 classes, the images have 7; give --new-head"):
        load_pretrained(model, path, new_head=False)
    with pytest.raises(ValueError, match="do not fit the network"):
        load_pretrained(asvit.build(ARCH.replace(",8", ",16"), 32, 5), path, new_head=True)
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
