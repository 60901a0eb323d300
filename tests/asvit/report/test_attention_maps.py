"""Where attention looks, on the cells of the image: grids, windows, lists and pooled tokens."""

import pytest
import timm
import torch
from torch import Tensor, nn

import asvit
from asvit.models import PSViT, convert
from asvit.report.attention_maps import CellMaps, cell_picture, layer_maps, token_maps
from proxies.activations import visit_attention_maps

IMAGE = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def deit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "deit_tiny_patch16_224", depth=2, embed_dim=24, num_heads=3, img_size=64
    ).eval()


def maps_of(model: nn.Module, image: Tensor = IMAGE) -> dict[str, Tensor]:
    layers: dict[str, Tensor] = {}
    visit_attention_maps(model, image, lambda name, maps: layers.update({name: maps}))
    return layers


def panel(one: CellMaps, head: int = 0) -> Tensor:
    return list(one.panels.values())[head]


def test_the_class_token_looks_at_the_grid_of_patches() -> None:
    model = deit()
    whole = maps_of(model)
    found = layer_maps(model, IMAGE)
    assert [one.name for one in found] == list(whole) == ["blocks.0.attn", "blocks.1.attn"]
    for one in found:
        for head in range(3):
            expected = whole[one.name][0, head, 0, 1:].view(4, 4)
            torch.testing.assert_close(panel(one, head), expected)
        assert list(one.panels) == ["head 0", "head 1", "head 2"]
        assert one.query is None


def test_a_query_looks_from_its_cell() -> None:
    model = deit()
    (first, _) = layer_maps(model, IMAGE, (2, 1))
    expected = maps_of(model)["blocks.0.attn"][0, 1, 1 + 2 * 4 + 1, 1:].view(4, 4)
    torch.testing.assert_close(panel(first, 1), expected)
    assert first.query == (2.5 / 4, 1.5 / 4)
    with pytest.raises(ValueError, match=r"no token \(4, 0\); use rows and columns from 0 to 3"):
        layer_maps(model, IMAGE, (4, 0))


def test_hallucinated_heads_are_named() -> None:
    for one in layer_maps(convert(deit(), "hallucinated", kept=1 / 3), IMAGE):
        assert [", hallucinated" in title for title in one.panels] == [False] * 2 + [True] * 4


def test_a_sharing_layer_shows_the_map_of_its_partner() -> None:
    model = asvit.build("psvit2d:bs----|b-----|b-----|24", 64, 3).eval()
    names = ["0.attn", "1.first.attn", "1.second.attn"]
    own, first, second = layer_maps(model, IMAGE)[:3]
    assert [one.name for one in (own, first, second)] == [f"stages.0.cells.{n}" for n in names]
    assert [f"{title}, shared" for title in first.panels] == list(second.panels)
    for mine, theirs in zip(second.panels.values(), first.panels.values(), strict=True):
        assert torch.equal(mine, theirs)


def test_windows_of_asvit_are_joined() -> None:
    model = asvit.build("4,4,2|2,2,2|2,1,2|2,1,2|16", 64, 3).eval()
    maps = maps_of(model)["layers.0.blocks.0.attn"]  # [16 windows, heads, 16, 16]
    one = panel(layer_maps(model, IMAGE)[0])
    for row, column in ((0, 0), (1, 3), (3, 2)):
        expected = maps[4 * row + column, 0].mean(0).view(4, 4)
        torch.testing.assert_close(one[4 * row :, 4 * column :][:4, :4], expected)
    looks = panel(layer_maps(model, IMAGE, (5, 14))[0])
    torch.testing.assert_close(looks[4:8, 12:], maps[7, 0, 4 + 2].view(4, 4))
    assert looks.count_nonzero() == 16


def test_shifted_windows_of_swin_are_put_back() -> None:
    settings = {"depths": (2,), "num_heads": (2,), "embed_dim": 8, "window_size": 4}
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=40, strict_img_size=False, **settings
    ).eval()
    block = model.layers[0].blocks[1]
    assert block.shift_size == (2, 2)
    for row, column in ((0, 0), (5, 6), (9, 9)):
        image = torch.zeros(1, 3, 40, 40)
        looks = panel(layer_maps(model, image, (row, column))[1])
        # Of 10 rows, shifted by 2 and padded to 12 by two windows and a half.
        window = [((place - 2) % 10) // 4 for place in range(10)]
        reached = looks > 1e-6
        assert reached[row, column]
        for i, j in reached.nonzero().tolist():
            assert (window[i], window[j]) == (window[row], window[column])


def test_pooled_lists_lie_on_the_patches() -> None:
    model = PSViT(("b",) * 3, (12, 16, 24), (3, 4, 6), pooling="1d", img_size=112).eval()
    image = torch.randn(1, 3, 112, 112)  # 7 × 7 patches, then lists of 24 and 12
    second = layer_maps(model, image)[1]
    weights = maps_of(model, image)["stages.1.cells.0.attn"][0, 2, 0, 1:]
    cells = panel(second, 2).flatten()
    torch.testing.assert_close(cells[:48], weights.repeat_interleave(2))
    assert cells[48].isnan()
    tokens = token_maps(model, image)
    assert list(tokens.panels) == ["stage 1, 49 × 12", "stage 2, 24 × 16", "stage 3, 12 × 24"]
    _, levels = model.forward_intermediates(image, output_fmt="NLC")
    third = tokens.panels["stage 3, 12 × 24"].flatten()
    torch.testing.assert_close(third[:48], levels[2][0].norm(dim=1).repeat_interleave(4))
    assert third[48].isnan()


def test_tokens_of_grids_halve() -> None:
    model = asvit.build("psvit2d:b-----|b-----|b-----|24", 56, 3).eval()
    tokens = token_maps(model, torch.randn(1, 3, 56, 56))
    assert [tuple(one.shape) for one in tokens.panels.values()] == [(7, 7), (4, 4), (2, 2)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shiftvit_light_tiny", "ShiftViT has no attention maps"),
        ("mobilevit_xxs", r"Attention attends in 4 group\(s\) of 16 tokens, whose places"),
    ],
)
def test_networks_without_known_places_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer_maps(timm.create_model(name).eval(), IMAGE)


def test_a_picture_has_a_row_for_every_cell() -> None:
    pixels = torch.zeros(3, 8, 8, dtype=torch.uint8)
    one = CellMaps("blocks.0", {"head 0": torch.ones(2, 2), "head 1, shared": torch.eye(2)})
    lines = cell_picture("x-maps", pixels, [one]).csv.splitlines()
    assert lines[0] == "layer,panel,row,column,value"
    assert lines[5:7] == ['blocks.0,"head 1, shared",0,0,1.0', 'blocks.0,"head 1, shared",0,1,0.0']
    assert len(lines) == 9
    svg = cell_picture("x-maps", pixels, [one]).svg
    assert ">blocks.0<" in svg
    assert ">shared<" in svg
    assert svg.count("<image") == 3
