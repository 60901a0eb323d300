"""Every rival without a loss, on every kind of network: a value or why not, and no trace."""

import math

import pytest
import torch

import proxies
from proxies import PROXIES
from tests.proxies.test_rivals_on_models import Interrupts, builder, inputs, state, used_before
from tests.proxies.test_timm_models import MODELS

AZ_NAS = ("az_expressivity", "az_progressivity", "az_trainability")
COUNTS = ("depth", "width", "expansions")
NAMES = ("jacob_cov", "naswot", *AZ_NAS, *COUNTS)
NOT_DEFINED = {("resnet18", "expansions"): "no block of ResNet has a feed-forward part"}


@pytest.mark.parametrize("name", ["as-vit", *MODELS])
def test_a_finite_value_or_a_reason(name: str) -> None:
    build, side = builder(name)
    images = torch.randn(4, 3, side, side)
    found = proxies.measure(build, NAMES, repeats=1, images=images, device="cpu")
    for measure, score in found.items():
        reason = NOT_DEFINED.get((name, measure), "")
        assert score.valid == (not reason), score.reason
        assert reason in score.reason
        assert score.better == "higher"


@pytest.mark.parametrize("measure", NAMES)
@pytest.mark.parametrize("name", ["as-vit", "deit_tiny_patch16_224", "convnext_atto"])
def test_the_model_is_left_as_it_was(name: str, measure: str) -> None:
    model, side = used_before(name)
    given = inputs(side)
    before = state(model)
    first = PROXIES[measure].value(model, given)
    assert math.isfinite(first)
    assert PROXIES[measure].value(model, given) == first
    assert state(model) == before


@pytest.mark.parametrize("measure", [name for name in NAMES if name not in COUNTS])
def test_the_model_is_left_as_it_was_when_interrupted(measure: str) -> None:
    model, side = used_before("as-vit")
    model.layers[3].blocks[0].attn.proj = Interrupts()
    given = inputs(side)
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        PROXIES[measure].value(model, given)
    assert state(model) == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("measure", "passes"), [("jacob_cov", 1), ("naswot", 2), *((name, 1) for name in AZ_NAS)]
)
def test_no_sample_is_seen_in_a_loop(measure: str, passes: int) -> None:
    model, side = used_before("as-vit")
    for images in (2, 4):
        calls: list[None] = []
        handle = model.register_forward_pre_hook(lambda module, args, c=calls: c.append(None))
        PROXIES[measure].value(model, inputs(side, images))
        handle.remove()
        assert len(calls) == passes


@pytest.mark.parametrize("measure", AZ_NAS)
def test_az_nas_looks_at_noise_and_not_at_the_images(measure: str) -> None:
    model, side = used_before("as-vit")
    value = PROXIES[measure].value
    given = inputs(side)
    assert value(model, given) == value(model, inputs(side))
    assert value(model, given) != value(
        model, proxies.Inputs(given.circle, given.images, given.labels, 1)
    )


@pytest.mark.parametrize("measure", COUNTS)
def test_counts_do_not_depend_on_initial_weights(measure: str) -> None:
    assert not PROXIES[measure].random
