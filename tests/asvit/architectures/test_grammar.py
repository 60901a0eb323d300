"""One suite for the texts of all architectures: read back, canonical, refused in one line."""

from dataclasses import fields, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.architectures import psvit_path
from asvit.architectures.base import Limits, TextArchitecture
from asvit.architectures.genotype import PART_CHOICES, Genotype, ShiftArchitecture
from asvit.architectures.psvit_path import CELL_LAYERS, PSViT1dPath, PSViT2dPath, unrolled
from asvit.spaces.architectures import build_on_meta, canonical, find, parse
from asvit.spaces.vitbench import AutoFormerArchitecture, PitArchitecture
from tests.hostile import FIXED, refused_or, texts

SEED = "8,2,3|4,1,2|4,1,4|4,1,6|32"
CELLS = "bbs---|bs----|bb----"
#: Kind -> texts of it in their canonical form.
RIGHT: dict[type[TextArchitecture], tuple[str, ...]] = {
    Genotype: (
        *(SEED, "4,2,2,3|2,1,2,1|2,1,2,256|2,1,6,1|16,1024"),
        f"4{SEED[1:]};stem=conv,positions=absolute,init=width",
    ),
    ShiftArchitecture: ("shift:2,2,6,2|4|12|1|96", "shift:1,1,1,1|2.5|4|0|16;stem=deep"),
    PSViT1dPath: (f"psvit1d:{CELLS}", f"psvit1d:{CELLS}|3,4,9|240", f"psvit1d:{CELLS}|240"),
    PSViT2dPath: (f"psvit2d:{CELLS}", f"psvit2d:{CELLS}|3,4,9|24"),
    PitArchitecture: ("pit:32,4|2,6,4|2,4,8", "pit:8,3.333333|1,1,1|1,2,4"),
    AutoFormerArchitecture: ("autoformer:48|3,4|3.5,4", "autoformer:448,64|6,5,7|4,3,3.5"),
}
TIMM = (
    *("timm:resnet18", "timm:vit_tiny_patch16_224.augreg_in21k", "timm:hf-hub:a/b"),
    "timm:resnet10t(channels=[8,16,32,64],layers=[1,2,1,1],stem_width=4)",
)
EVERY = (*(text for some in RIGHT.values() for text in some), *TIMM)
every_kind = pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)


def of_choices(choices: Any) -> st.SearchStrategy[Any]:
    if isinstance(choices, Limits):
        return st.floats(choices.least, choices.most)
    if isinstance(choices, range):
        return st.integers(choices[0], choices[-1])
    return st.sampled_from(choices)


@st.composite
def architectures(draw: st.DrawFn, kind: type[TextArchitecture]) -> TextArchitecture:
    """Any of a kind, from the values that its fields may have."""
    values = {}
    for name, field in kind.fields.items():
        if field.counts is None:
            values[name] = draw(of_choices(field.choices))
        elif len(field.counts) == 1:
            each = isinstance(field.choices[0], tuple)
            stages = field.choices if each else [field.choices] * field.counts[0]
            values[name] = tuple(draw(of_choices(choices)) for choices in stages)
    if "cells" in {field.name for field in fields(kind)}:
        stage = st.text("bs-", min_size=6, max_size=6)
        values["cells"] = draw(st.tuples(stage, stage, stage))
        values["depths"] = draw(st.sampled_from([(), values["depths"]]))
    if kind is Genotype:
        values["width"] = max(values["width"], values["heads"] // 8)
        values["depths"] = draw(st.sampled_from([(1, 1, 1, 1), values["depths"]]))
    if kind is PitArchitecture:  # a stage has a multiple of the heads of the one before
        values["heads"] = draw(st.sampled_from([(1, 1, 1), (2, 4, 8), (3, 3, 6), (1, 5, 10)]))
    if kind is AutoFormerArchitecture:
        blocks = draw(st.integers(1, 20))
        ratios = st.lists(of_choices(kind.fields["mlp_ratios"].choices), min_size=blocks)
        values["mlp_ratios"] = draw(ratios)[:blocks]
        values["heads"] = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=blocks))[
            :blocks
        ]
        values["width"] = 12 * draw(st.integers(1, 300))
    return kind(**values)


@every_kind
@FIXED
@given(data=st.data())
def test_a_text_says_all_of_an_architecture(kind: Any, data: st.DataObject) -> None:
    arch = data.draw(architectures(kind))
    text = str(arch)
    assert kind.parse(text) == parse(text) == arch
    spaced = text.replace("|", " |\t").replace(",", " , ")
    assert str(kind.parse(spaced)) == canonical(text) == text
    assert {arch: text}[kind.parse(text)] == text


def test_what_is_the_default_is_left_out() -> None:
    for text, shorter in (
        (f"{SEED},32; stem=patch , head=mlp", SEED),
        (SEED.replace("|", ",1|", 4), SEED),
        (f"{SEED};init=width,stem=conv", f"4{SEED[1:]};stem=conv,init=width"),
        (f"psvit2d:{CELLS}|4,3,2|96", f"psvit2d:{CELLS}"),
        ("shift:1,1,1,1|2.0|4|0|016;stem=patch", "shift:1,1,1,1|2|4|0|16"),
        ("pit: 32 , 4.0 | 2,6,4 |2, 4, 8", "pit:32,4|2,6,4|2,4,8"),
        ("autoformer:48,0|3,4|3.50,4.0", "autoformer:48|3,4|3.5,4"),
    ):
        assert canonical(text) == shorter
    for text in EVERY[: -len(TIMM)]:
        assert canonical(text) == text


def structure(arch: Genotype) -> list[object]:
    """Each module's class, plain attributes and parameters; and how weights are drawn."""
    plain = int | float | str | tuple
    return [arch.init] + [
        (
            name,
            type(module),
            {key: value for key, value in vars(module).items() if isinstance(value, plain)},
            {key: p.shape for key, p in module.named_parameters(recurse=False)},
        )
        for name, module in build_on_meta(arch, image_size=64).named_modules()
    ]


@pytest.mark.parametrize("text", [SEED, "4,4,2|2,2,3|3,2,5|2,1,6|16,24;stem=deep,mixing=ffn"])
def test_texts_are_equal_exactly_where_networks_are(text: str) -> None:
    arch = Genotype.parse(text)
    own = structure(arch)
    others = [replace(arch, **{n: c}) for n, choices in PART_CHOICES.items() for c in choices]
    for name in ("kernels", "splits", "expansions"):
        for stage, choices in enumerate(Genotype.fields[name].choices):
            for choice in choices:
                values = [*getattr(arch, name)]
                values[stage] = choice
                others.append(replace(arch, **{name: values}))
    for other in others:
        assert (str(other) == text) == (structure(other) == own), str(other)


@every_kind
@FIXED
@given(data=st.data())
def test_what_a_kind_reads_it_reads_back(kind: Any, data: st.DataObject) -> None:
    found = refused_or(lambda: kind.parse(data.draw(texts(*RIGHT[kind]))))
    if found is not None:
        assert kind.parse(str(found)) == found


@FIXED
@given(texts(*EVERY))
def test_texts_of_any_space(text: str) -> None:
    found = refused_or(lambda: canonical(text))
    if found is not None:
        assert found.isprintable()
        assert canonical(found) == found
    refused_or(lambda: find(text))


TWO = f"psvit2d:{CELLS}"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "'' is not K,S,E"),
        (SEED.removesuffix("|32"), "is not K,S,E"),
        (f"{SEED}|32", "as in '8,2,3"),
        ("8,2|4,1,2|4,1,4|4,1,6|32", "is not K,S,E"),
        (f"{SEED};", "'' names no part; use each of stem, head, mixing, positions, init once"),
        (f"{SEED};stem=conv,stem=conv", "'stem=conv' names no part"),
        (f"{SEED};stem=convs", "stem='convs' is not allowed; use one of patch, conv, deep"),
        (f"9{SEED[1:]}", "stage 1 kernel=9 is not allowed; use one of 4, 5, 6, 7, 8"),
        (SEED.replace("4,1,6", "4,2,6"), "stage 4 splits=2 is not allowed; use 1"),
        (SEED.replace("4,1,4", "4,1,4,0"), "stage 3 depth=0 .* a whole number from 1 to 256"),
        (f"{SEED},1025", "stage 1 width=1025 .* a whole number from 1 to 1024"),
        (SEED.replace("4,1,2", "٤,1,2"), "stage 2 kernel='٤'"),
        (SEED.replace("4,1,2", "4,1_0,2"), "stage 2 splits='1_0'"),
        (f"{SEED},{'9' * 5000}", "stage 1 width='9"),
        (f"{SEED[:-2]}64,7", "stage 1 width=7 is less than its 8 heads; .* at least 8"),
        ("shift:2,2,6|4|12|1|96", "number of values of depth=3 is not allowed; use 4"),
        ("shift:2,2,6,2|4|12|1", "is not shift:L,L,L,L"),
        ("shift:2,2,6,2|0.5|12|1|96", "ratio='0.5' is not allowed; use a number from 1 to 64"),
        ("shift:2,2,6,2|4|12|1|96;head=linear", "'head=linear' names no part"),
        ("psvit2d:bbs---|bs----", "is not psvit2d:CELLS"),
        (f"{TWO}|1,2,3|4|5", "is not psvit2d:CELLS"),
        (f"{TWO}|4|1,2,3", "is not psvit2d:CELLS"),
        (TWO.replace("bs----", "bx----"), "cells='bx----' is not allowed; use 'b'"),
        (f"{TWO}|1,2", r"is not psvit2d:CELLS"),
        (f"{TWO}|1,2,257", "stage 3 depth=257 .* a whole number from 0 to 256"),
        (f"{TWO}|2", "stage 1 width=2 .* a whole number from 3 to 4096"),
        (f"{TWO}|", "stage 1 width=''"),
        ("pit:32,4|2,6,4", r"is not pit:BASE_DIM,MLP_RATIO\|D1,D2,D3\|H1"),
        ("pit:32|2,6,4|2,4,8", "is not pit:BASE_DIM,MLP_RATIO"),
        ("pit:32,4|2,6,4|2,4,6", "6 heads after 4; use a multiple of 4"),
        ("pit:32,-4|2,6,4|2,4,8", "mlp_ratio='-4' .* a number from 0.125 to 64"),
        ("autoformer:192,4,4|3|4", "is not autoformer:WIDTH"),
        ("autoformer:448|6|4", "6 heads do not divide a width of 448; .* as in autoformer:448,64"),
        ("autoformer:192|3,4|4", "has heads for 2 blocks and ratios for 1; give both"),
        ("autoformer:192|3|64.000001", "mlp_ratio='64.000001'"),
        ("autoformer:192||", "heads=''"),
    ],
)
def test_errors_name_the_value_and_what_is_allowed(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named) as error:
        canonical(text)
    assert "\n" not in str(error.value)


def test_values_of_other_types_become_plain_or_are_refused() -> None:
    g = Genotype([8, 4, 4, 4], np.array([2, 1, 1, 1]), (3, 2, 4, np.int64(6)), np.int32(32))
    assert {g: str(g)} == {Genotype.parse(SEED): SEED}
    assert {type(value) for value in (*g.kernels, *g.splits, g.heads)} == {int}
    path = replace(PSViT2dPath.parse(TWO), depths=np.array([1, 2, 3]))
    assert path.depths == (1, 2, 3)
    for wrong in ({"heads": 32.0}, {"heads": np.float32(32)}, {"width": None}, {"splits": (1,)}):
        with pytest.raises(ValueError, match=r"is not allowed"):
            replace(g, **wrong)
    assert str(PitArchitecture(32, 10 / 3, (2, 6, 4), (2, 4, 8))).startswith("pit:32,3.333333|")


def test_a_change_is_checked_like_the_original() -> None:
    g = Genotype.parse(SEED)
    assert str(g.with_(depths=[5, 2, 5, 2], width=180)) == (
        "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180"
    )
    assert g.with_() == g
    with pytest.raises(ValueError, match="stage 2 depth=0"):
        g.with_(depths=(1, 0, 1, 1))
    with pytest.raises(ValueError, match="stage 1 width=3 is less than its 4 heads"):
        g.with_(width=3)


LARGE = "8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180"


def test_widths_double_up_to_the_cap_and_heads_follow():
    g = Genotype.parse(LARGE)
    assert g.stage_widths == (180, 360, 720, 1024)
    assert g.stage_heads == (4, 8, 16, 32)
    assert Genotype.parse(SEED).stage_widths == (32, 64, 128, 256)


def test_tokens_per_side_half_of_an_odd_one_rounded_up():
    g = Genotype.parse("8,8,3|4,4,2|4,2,4|4,1,6|32")
    assert g.token_sides(224) == (56, 28, 14, 7)
    assert Genotype.parse(SEED).token_sides(112) == (28, 14, 7, 4)
    assert Genotype.parse(SEED).token_sides(8) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("text", "side", "message"),
    [
        ("8,8,3|4,4,2|4,2,4|4,1,6|32", 112, "stage 1 splits=8 does not divide 28 tokens per side"),
        (
            SEED,
            100,
            r"splits=2 does not divide 25 tokens per side \(image 100 px\); use a multiple",
        ),
        (SEED, 225, r"stage 1 cannot cut .* stride 4 \(image 225 px\); use a multiple of 32 px"),
        (SEED, -32, r"\(image -32 px\); use a multiple of 32 px"),
    ],
)
def test_images_that_do_not_fit(text, side, message):
    with pytest.raises(ValueError, match=message):
        Genotype.parse(text).token_sides(side)


KINDS = (PSViT1dPath, PSViT2dPath)
TEXT = "psvit2d:bbs---|bs----|bb----"
EMPTY = "------"
BASIC = ("b-----", "b-----", EMPTY)

stages = st.text("bs-", min_size=psvit_path.CELLS, max_size=psvit_path.CELLS)


def test_what_a_text_says():
    path = PSViT2dPath.parse(TEXT)
    assert str(path) == TEXT
    assert path.cells == ("bbs---", "bs----", "bb----")
    assert path.depths == (4, 3, 2)
    assert path.layers == 9
    assert path.stage_cells == ("bbs", "bs", "bb")
    assert path.stage_widths == (96, 192, 384)
    assert path.heads == (3, 6, 12)
    other = PSViT1dPath.parse("psvit1d:bbs---|bs----|bb----")
    assert other.stage_widths == (192, 256, 384)
    assert other.heads == (3, 4, 6)
    assert other.with_(width=50).stage_widths == (50, 67, 100)


def test_the_whole_space_and_what_is_distinct_in_it():
    assert len(CELL_LAYERS) ** (3 * psvit_path.CELLS) == 387_420_489
    # Stages are independent: one in full tells about all. What it does is its sequence of layers.
    every = list(map("".join, product("bs-", repeat=psvit_path.CELLS)))
    one_stage = {psvit_path.canonical([cells]) for cells in every}
    assert len(one_stage) == len({cells.replace("-", "") for cells in every}) == 127
    assert len(one_stage) ** 3 == 2_048_383
    counts = {(cells.count("b"), cells.count("s")) for (cells,) in one_stage}
    assert len(counts) ** 3 == 28**3 == 21_952


@pytest.mark.parametrize(
    ("cells", "depth", "built"),
    [
        ("bs----", 3, "bs"),
        ("bs----", 5, "bsbb"),
        ("bs----", 6, "bsbs"),
        ("-b-s--", 6, "bsbs"),
        ("ssssss", 3, "sb"),
        ("bs----", 0, ""),
        (EMPTY, 2, "bb"),
        ("bbbbbb", 8, "bbbbbbbb"),
    ],
)
def test_cells_repeat_until_the_layers_are_used_up(cells, depth, built):
    assert unrolled(cells, depth) == built


@pytest.mark.parametrize(
    ("cells", "side", "message"),
    [
        (BASIC, 100, "patches of 16 px do not fill an image side of 100 px; use 96 or 112 px"),
        (BASIC, 0, "patches of 16 px do not fill an image side of 0 px; use 16 px"),
        (BASIC, 16, "an image of 16 px has too few tokens to pool 1 times; use 32 px or more"),
        ((EMPTY,) * 3, 32, "has no layers; use 'b' or 's' in at least one cell"),
    ],
)
def test_images_that_do_not_suit(cells, side, message):
    with pytest.raises(ValueError, match=message):
        PSViT1dPath(cells).check(side)
    PSViT1dPath(("b-----", EMPTY, EMPTY)).check(16)  # nothing is pooled into an empty tail
