import pytest
import torch
from timm.layers import DropPath

from asvit.networks import Network

TEXTS = (
    "8,2,3|4,1,2|4,1,4|4,1,6|32",
    "shift:1,2,2,1|2|8|1|16",
    "psvit2d:bbs---|bs----|bb----",
    "pit:10,4|2,6,4|2,4,8",
    "timm:test_vit",
)


@pytest.mark.parametrize("text", TEXTS)
def test_json_and_back_is_the_same(text: str) -> None:
    network = Network(text, image_size=64, num_classes=3)
    assert Network.from_json(network.to_json()) == network


def test_text_is_kept_in_its_canonical_form() -> None:
    assert Network(" 8,2,3 | 4,1,2|4,1,4|4,1,6|32").architecture == TEXTS[0]


def test_parts_are_put_in_and_merge_to_the_form_for_inference() -> None:
    parts = {"attention": "hallucinated", "ffn": "compact"}
    trained = Network("timm:test_vit", 32, 5, **parts, branches=2)
    model = trained.build().eval()
    network, merged = trained.merged(model)
    assert network == Network("timm:test_vit", 32, 5, **parts)
    merged.load_state_dict(network.build().state_dict())  # strict: same names and shapes
    assert sum(p.numel() for p in merged.parameters()) < sum(p.numel() for p in model.parameters())


def test_drop_path_reaches_the_last_block() -> None:
    model = Network(TEXTS[0], 64, 3).build(drop_path=0.25, drop=0.5)
    rates = [m.drop_prob for m in model.modules() if isinstance(m, DropPath)]
    assert rates[-1] == pytest.approx(0.25)
    dropouts = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert [rate for rate in dropouts if rate] == [0.5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"architecture": ""}, "architecture must be a name"),
        ({"architecture": "timm:deit_tin"}, "did you mean 'timm:"),
        ({"branches": 2}, "ask for ffn='compact'"),
        ({"image_size": 0}, "image_size must be at least 1"),
        ({"ffn": 3}, "ffn must be compact, got '3'"),
        ({"ffn": "compact(branches=2)"}, "a setting of compact='branches' is not one of 'ratio'"),
        ({"attention": "compact"}, "attention must be hallucinated, got 'compact'"),
        ({"attention": "hallucinated(ratio=1)"}, "a setting of hallucinated='ratio' is not one"),
        ({"ffn": "compact(ratio=half)"}, "ratio='half' of compact is not a number"),
        ({"attention": "hallucinated(kept='1/2')"}, "kept='1/2' of hallucinated is not a number"),
        ({"attention": "hallucinated(maps=)"}, r"is not NAME\(ARGUMENT=VALUE"),
    ],
)
def test_a_wrong_value_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Network(**{"architecture": "timm:test_vit", **given})


@pytest.mark.parametrize(
    ("text", "attention", "message"),
    [
        (TEXTS[1], "hallucinated", "has no attention that can be replaced"),
        ("timm:test_vit", "hallucinated(maps=none)", "maps='none' is not one"),
        ("timm:test_vit", "hallucinated(kept=0)", "kept must be"),
    ],
)
def test_parts_that_do_not_fit_are_refused_when_built(
    text: str, attention: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Network(text, 32, 5, attention=attention).build()


def test_parts_have_settings_in_their_texts() -> None:
    network = Network(
        "timm:deit_tiny_patch16_224", 32, 5,
        attention="hallucinated( maps='copy', kept=0.5 )", ffn="compact(ratio=1.0,factored=first)",
    )  # fmt: skip
    assert network.attention == "hallucinated(kept=0.5,maps=copy)"
    assert Network.from_json(network.to_json()) == network
    block = network.build().blocks[0]
    assert block.attn.hallucinate.maps == "copy"
    assert block.mlp.fc1.reduce.out_features == round(4 * 192 / 5)
    assert type(block.mlp.fc2).__name__ == "Linear"
