"""The whole As-ViT network: released numbers, shapes, any image, derivatives, compilation."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asvit.architectures.genotype import Genotype
from asvit.models import AsViT
from asvit.models.asvit import asvit_cost
from asvit.spaces import load_space
from asvit.spaces.architectures import build_on_meta
from proxies.counts import count
from tests.asvit.models.families import GOLDEN, released

SMALL = "6,2,3|3,1,2|2,1,2|4,1,2|16,8"
DEEP = "5,4,2,2|2,2,3,1|3,1,2,2|2,1,2,1|32,12"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_released_weights_give_the_released_outputs(path):
    model, tensors, _ = released(path)
    images = tensors["images"][:2].float()
    with torch.no_grad():
        torch.testing.assert_close(model(images), tensors["logits_first_two"], atol=1e-6, rtol=0)
        model.norm = nn.Identity()
        pooled = model.forward_head(model.forward_features(images), pre_logits=True)
    torch.testing.assert_close(pooled, tensors["pooled_first_two"], atol=1e-6, rtol=0)


def test_a_replaced_classifier_keeps_the_hidden_layer():
    model = AsViT(SMALL)
    hidden = model.head[0].weight
    model.reset_classifier(7)
    assert model.head[0].weight is hidden  # as timm does when it loads a checkpoint
    assert model.get_classifier().weight.shape == (7, 64)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (112, 112), (8, 40), (88, 64)])
def test_any_image_that_fits_and_grids_may_be_odd(height, width):
    model = AsViT(SMALL, num_classes=5).eval()
    assert Genotype.parse(SMALL).token_sides(height)  # fits: no multiple of 32 is needed
    image = torch.randn(2, 3, height, width)
    _, maps = model.forward_intermediates(image)
    sides = [(-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32)]
    assert [tuple(level.shape[2:]) for level in maps] == sides
    assert model(image).shape == (2, 5)
    # The last row and column count, too: nothing of the image is left out.
    changed = image.clone()
    changed[..., -1, -1] += 1
    assert not torch.equal(model(image), model(changed))


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="stage 1 splits=4 does not divide 25 tokens per side"):
        AsViT(DEEP, img_size=(224, 100))
    with pytest.raises(ValueError, match="stage 2 splits=2 does not divide 5 "):
        AsViT("6,2,3|3,2,2|2,1,2|4,1,2|16,8", img_size=40)
    with pytest.raises(ValueError, match="image 30 px"):
        AsViT(SMALL)(torch.randn(1, 3, 32, 30))


def test_stages_differ_from_the_input_only_through_their_windows():
    """In stage 1, a change in one window of the image leaves the features of others alone."""
    model = AsViT("4,2,2|2,1,2|2,1,2|2,1,2|16,8").eval()
    image = torch.randn(1, 3, 64, 64)
    changed = image.clone()
    changed[..., :8, :8] += 1
    maps = [
        model.forward_intermediates(x, [0], intermediates_only=True)[0] for x in (image, changed)
    ]
    differs = (maps[0] != maps[1]).any(1)[0]
    assert differs[:8, :8].all()
    assert not differs[8:].any()
    assert not differs[:, 8:].any()


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.one_of(st.sampled_from([32, 64, 96, 160, 224]), st.integers(1, 60).map(lambda n: 4 * n)),
    st.sampled_from([0, 1, 7, 1000]),
)
def test_formulas_give_what_the_network_costs(seed, side, classes):
    rng = np.random.default_rng(seed)
    depths, width = rng.integers(1, 4, 4).tolist(), int(rng.integers(8, 300))
    name = ("asvit", "asvit-parts")[rng.integers(2)]
    g = load_space(name).sample(rng).with_(depths=depths, width=width)
    try:
        network = build_on_meta(g, image_size=side, num_classes=classes)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            asvit_cost(g, side, classes)
    else:
        assert asvit_cost(g, side, classes) == count(network, side)
