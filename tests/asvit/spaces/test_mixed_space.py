"""As-ViTs mixed with parts of the other systems."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import asvit
from asvit.architectures.genotype import (
    EXPANSION_CHOICES,
    HEAD_CHOICES,
    KERNEL_CHOICES,
    SPLIT_CHOICES,
    Genotype,
)
from asvit.architectures.mixed import (
    ATTENTION,
    COMPACT,
    FULL,
    POOLING,
    REEMBEDDING,
    SHIFT,
    MixedArchitecture,
)
from asvit.architectures.parts import PART_CHOICES, Parts
from asvit.models.layers.compact import CompactMap
from asvit.models.layers.psvit import TokenPooling2d
from asvit.models.layers.shift import ShiftBlock
from asvit.models.mixed import MixedViT
from asvit.networks import Network
from asvit.spaces import load_space
from asvit.spaces.architectures import build_on_meta, choice_features
from tests.asvit.models.test_ablations import trained

PLAIN = "4,2,2|3,1,2|2,1,3|4,1,2|16,16"
MIXED = f"mixed:{PLAIN}|ssaa|fcfc|p"


def parts(model: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def test_letters_place_the_parts() -> None:
    model = asvit.build(MIXED, 32, 5)
    assert isinstance(model, MixedViT)
    assert parts(model, ShiftBlock) == ["layers.0.blocks.0", "layers.1.blocks.0"]
    assert parts(model, TokenPooling2d) == ["layers.2.downsample"]
    compact = parts(model, CompactMap)
    assert compact == ["layers.1.blocks.0.mlp.fc2", "layers.3.blocks.0.mlps.0.1.fc2"]


def test_without_other_parts_it_is_an_asvit() -> None:
    image = torch.randn(2, 3, 32, 32)
    outputs = []
    for text in (PLAIN, f"mixed:{PLAIN}|aaaa|ffff|r"):
        torch.manual_seed(0)
        outputs.append(asvit.build(text, 32, 5)(image))
    assert torch.equal(*outputs)


def test_a_shifted_stage_is_written_out() -> None:
    block = asvit.build(f"mixed:{PLAIN}|saaa|ffff|r", 32, 5).layers[0]
    x = torch.randn(2, 8, 8, 16)
    moved = x.clone()
    for channel, (rows, columns) in enumerate(((0, -1), (0, 1), (-1, 0), (1, 0))):
        moved[..., channel] = 0  # a twelfth of 16 channels, rounded down, is one
        for i in range(8):
            for j in range(8):
                if 0 <= i + rows < 8 and 0 <= j + columns < 8:
                    moved[:, i + rows, j + columns, channel] = x[:, i, j, channel]
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    spread = moved.var(dim=(1, 2, 3), keepdim=True, unbiased=False)
    first, second = block.blocks[0].mlp.fc1, block.blocks[0].mlp.fc2
    hidden = F.gelu(((moved - mean) / (spread + 1e-5).sqrt()) @ first.weight[..., 0, 0].T)
    torch.testing.assert_close(block(x), moved + hidden @ second.weight[..., 0, 0].T)


def test_counts_follow_from_the_parts() -> None:
    """Of every part, what it has more or less than an As-ViT's, by hand."""
    whole = asvit.cost(PLAIN, 32, 5)
    c = 16
    # Attention has 4 maps of the width with biases and a norm; both blocks have another norm.
    shifted = asvit.cost(f"mixed:{PLAIN}|saaa|ffff|r", 32, 5)
    assert whole.params - shifted.params == 4 * c * c + 4 * c + 2 * c
    assert whole.macs - shifted.macs == 64 * (4 * c * c + 2 * 16 * c)
    wide, hidden = 8 * c, 16 * c
    width = round(2 / 3 * hidden * wide / (hidden + wide))
    compact = asvit.cost(f"mixed:{PLAIN}|aaaa|fffc|r", 32, 5)
    factors = width * (hidden + wide)
    assert whole.params - compact.params == hidden * wide - factors - width
    assert whole.macs - compact.macs == hidden * wide - factors
    pooled = asvit.cost(f"mixed:{PLAIN}|aaaa|ffff|p", 32, 5)
    embedded, pooling = 16 * 4 * c * wide, 9 * 4 * c * wide
    assert whole.params - pooled.params == embedded + 2 * 16 * 4 * c - pooling - wide
    assert whole.macs - pooled.macs == embedded - pooling


@given(seed=st.integers(0, 1000), image_size=st.sampled_from([32, 64]))
@settings(max_examples=10)
def test_any_of_the_space_counts_as_it_is_and_has_a_gradient(seed: int, image_size: int) -> None:
    space = load_space("mixed")
    arch = space.sample(np.random.default_rng(seed)).with_(width=8)
    model = space.build(arch, image_size=image_size, num_classes=3)
    counted = asvit.cost(arch, image_size, 3)
    assert counted.params == sum(parameter.numel() for parameter in model.parameters())
    model(torch.randn(2, 3, image_size, image_size)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


# Letters, and the parts that a network's modules show.
FIELDS = [
    *(*KERNEL_CHOICES, *SPLIT_CHOICES, *EXPANSION_CHOICES, HEAD_CHOICES),
    *(*[(ATTENTION, SHIFT)] * 4, *[(FULL, COMPACT)] * 4, (REEMBEDDING, POOLING)),
    *(PART_CHOICES[part] for part in ("stem", "head", "mixing")),
]


def with_choices(values: Sequence[Any]) -> MixedArchitecture:
    kernels, splits, expansions, mixing, ffns = (
        tuple(values[start : start + 4]) for start in (0, 4, 8, 13, 17)
    )
    return MixedArchitecture(
        kernels,
        splits,
        expansions,
        values[12],
        width=16,
        parts=Parts(*values[22:]),
        mixing="".join(mixing),
        ffns="".join(ffns),
        last=values[21],
    )


def structure(arch: MixedArchitecture) -> list[object]:
    """Each module's class, plain attributes and parameters."""
    plain = int | float | str | tuple
    return [
        (
            name,
            type(module),
            {key: value for key, value in vars(module).items() if isinstance(value, plain)},
            {key: p.shape for key, p in module.named_parameters(recurse=False)},
        )
        for name, module in build_on_meta(arch, image_size=32).named_modules()
    ]


@given(values=st.tuples(*map(st.sampled_from, FIELDS)))
@example(values=tuple(choices[-1] for choices in FIELDS))
@settings(max_examples=3)
def test_texts_are_equal_exactly_where_networks_are(values: tuple[Any, ...]) -> None:
    arch = with_choices(values)
    own = structure(arch)
    assert MixedArchitecture.parse(str(arch)) == arch
    for place, choices in enumerate(FIELDS):
        for choice in choices:
            other = with_choices([*values[:place], choice, *values[place + 1 :]])
            assert (str(other) == str(arch)) == (structure(other) == own), (arch, other)


def test_choices_without_effect_do_not_count() -> None:
    space = load_space("mixed")
    others = math.prod(
        len(choices)
        for name, choices in space.dimensions.items()
        if name not in ("S1", "M1", "S2", "M2", "S3", "M3", "K4", "P")
    )
    assert space.size == (3 + 1) * (3 + 1) * (2 + 1) * (3 + 1) * others
    choices = space.encode(space.parse(MIXED.replace("4,2,2|3,1,2", "4,8,2|3,4,2")))
    assert (choices["S1"], choices["S2"], choices["K4"]) == (2, 1, 2)
    assert set(space.dimensions) - set(space.active(choices)) == {"S1", "S2", "K4"}
    assert space.decode({**choices, "S1": 4, "S2": 2, "K4": 3}) == space.decode(choices)


def test_growing_keeps_the_parts() -> None:
    grown = MixedArchitecture.parse(MIXED).with_(depths=(2, 1, 1, 1), width=24)
    assert str(grown) == "mixed:4,2,2,2|3,1,2,1|2,1,3,1|2,1,2,1|16,24|ssaa|fcfc|p"
    assert len(parts(asvit.build(str(grown), 32, 5), ShiftBlock)) == 3


def test_it_learns() -> None:
    losses, _ = trained(Network(MIXED, 32, 3))
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"mixed:{PLAIN}", r"is not mixed:, an As-ViT's text, and its parts, as in mixed:8"),
        (f"mixed:{PLAIN}|ssxa|ffff|r", "mixing='ssxa' is not 4 of a or s"),
        (f"mixed:{PLAIN}|ssaa|fff|r", "ffns='fff' is not 4 of f or c"),
        (f"mixed:{PLAIN}|ssaa|ffff|rp", "last='rp' is not 1 of r or p"),
        (f"mixed:{PLAIN.replace('2', '9', 1)}|ssaa|ffff|r", "stage 1 splits=9 is not allowed"),
    ],
)
def test_malformed_texts_are_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refusal:
        asvit.cost(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("letters", "nearest"), [("ssas|ffcc", "ssaa|ffcc"), ("ssaa|cfcc", "ssaa|ffcc")]
)
def test_texts_outside_of_the_space_are_built_but_not_encoded(letters: str, nearest: str) -> None:
    space, text = load_space("mixed"), f"mixed:{PLAIN}|{letters}|r"
    arch = space.parse(text)
    assert arch not in space
    message = f"{text} is not in space 'mixed', where stage 4 attends and stage 1 has full "
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        space.encode(arch)
    assert str(refusal.value).endswith(f"; use {nearest}")
    inside = space.parse(f"mixed:{PLAIN}|{nearest}|r")
    assert inside in space
    assert space.decode(space.encode(inside)).with_(width=inside.width) == inside
    assert space.features(arch).keys() == space.features(inside).keys()
    assert space.features(arch) != space.features(inside)
    parameters = asvit.build(text, 32, 5).parameters()
    assert asvit.cost(text, 32, 5).params == sum(map(torch.numel, parameters))


def test_texts_with_other_parts_have_features_for_predictors() -> None:
    other = choice_features(f"mixed:{PLAIN};stem=conv,mixing=ffn|ssaa|ffcc|p")[1]
    plain = choice_features(f"mixed:{PLAIN}|ssaa|ffcc|p")[1]
    assert other.keys() == plain.keys()
    changed = {name for name in other if other[name] != plain[name]}
    assert changed == {"stem=patch", "stem=conv", "mixing=none", "mixing=ffn"}


def test_plain_texts_stay_plain() -> None:
    assert type(load_space("asvit").parse(PLAIN)) is Genotype
    assert asvit.cost(PLAIN, 32).params == sum(
        parameter.numel() for parameter in asvit.build(PLAIN, 32).parameters()
    )
