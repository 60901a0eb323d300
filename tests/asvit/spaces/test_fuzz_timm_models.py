"""Names of timm's models: none of them leads to a file, a program or the network."""

import pytest

from asvit.spaces import build
from asvit.spaces.architectures import build_on_meta, canonical
from asvit.spaces.families import TimmModel
from tests.hostile import refused_or

NAMES = (
    *("hf-hub:a/b", "hf_hub:a/b", "hf-hub:timm/resnet18.a1_in1k", "timm/resnet18", "a/b@main"),
    *("local-dir:/etc", "local-dir:..", "local-dir:///etc/passwd", "/etc/passwd", "../../etc"),
    *("https://a.b/resnet18", "file:///etc/passwd", "resnet18.hf-hub:a/b", "resnet18.../../x"),
    *("resnet18/..", "resnet18\n", "resnet18\x00", "\x1b[2Jresnet18", "__init__", "os.system", ""),
    *("resnet18.", ".resnet18", "resnet18:a", "timm:resnet18", "RESNET18", "resnet18?pretrained"),
)


@pytest.fixture(autouse=True)
def went(monkeypatch: pytest.MonkeyPatch, network_calls: list[object]) -> list[object]:
    """Every try to reach the network, or to ask timm's hub for anything."""
    for name in ("load_model_config_from_hf", "load_model_config_from_path"):
        monkeypatch.setattr(f"timm.models._factory.{name}", network_calls.append)
    return network_calls


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_that_are_no_models(name: str, went: list[object]) -> None:
    assert refused_or(lambda: canonical(f"timm:{name}")) is None
    assert refused_or(lambda: TimmModel(name)) is None
    assert refused_or(lambda: build(f"timm:{name}", 32, 2)) is None
    assert went == []


def test_building_a_model_goes_nowhere(went: list[object]) -> None:
    assert build("timm:resnet18.a1_in1k", 32, 2) is not None  # with random weights
    assert went == []


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("side", [1, 2, 7, 33])
@pytest.mark.parametrize(
    "name",
    ["resnet18", "gmlp_s16_224", "maxvit_tiny_tf_224", "swinv2_tiny_window8_256", "coat_tiny"],
)
def test_sizes_that_a_model_was_not_made_for(name: str, side: int) -> None:
    refused_or(lambda: build_on_meta(f"timm:{name}", image_size=side))
