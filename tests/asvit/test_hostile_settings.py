"""Settings from files: of any content, they are of the declared types or refused in one line."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvit.core.settings import MeasuringSettings, Settings, fields_of, option_of
from asvit.designs import DesignSettings
from asvit.executors import Workers
from asvit.export.settings import ExportSettings
from asvit.growth import ScaleSettings
from asvit.networks import Network
from asvit.reference.build_settings import BuildSettings
from asvit.reference.settings import CorrelationQuery, CorrelationSettings
from asvit.search.settings import SearchSettings
from asvit.search.supernet_settings import EvolutionSettings
from asvit.training.settings import TrainSettings
from asvit.training.short_settings import ShortTrainingSettings
from asvit.training.supernets.settings import SupernetSettings
from asvit.transfer.settings import DetectionSettings, SegmentationSettings, TransferSettings
from tests.hostile import FEW, changed_json, refused_or

SEED = "4,2,2|2,1,2|2,1,2|2,1,2|16"
RIGHT: Mapping[type[Settings], Settings] = {
    type(settings): settings
    for settings in (
        SearchSettings(),
        DesignSettings("pets", max_params=10**6),
        ScaleSettings(SEED),
        EvolutionSettings(max_macs=10**9),
        SupernetSettings(),
        BuildSettings(),
        CorrelationSettings(image_size=64),
        CorrelationQuery(targets=("top1",), rows=5, max_params="100M"),
        TrainSettings(SEED, validation="val", classes=3, train_images=9),
        DetectionSettings(architecture=SEED, data="coco"),
        SegmentationSettings(data="scenes", weights="a.safetensors", train="."),
        Network(SEED, ffn="compact", branches=2),
        ExportSettings("onnx", SEED, weights="a.safetensors", batch=2, opset=18),
    )
}


_OURS = ("asvit.", "experiments.")


def every_kind(base: type[Settings] = Settings) -> set[type[Settings]]:
    return {one for kind in base.__subclasses__() for one in {kind, *every_kind(kind)}}


def test_every_class_of_settings_is_here() -> None:
    ours = {kind for kind in every_kind() if kind.__module__.startswith(_OURS)}
    no_file_has_them = {MeasuringSettings, ShortTrainingSettings, TransferSettings, Workers}
    assert ours - no_file_has_them == set(RIGHT)


#: What a field may hold in a file that somebody else wrote.
ODD = (
    None,
    True,
    -1,
    0,
    3,
    10**400,
    1.5,
    math.nan,
    -math.inf,
    "",
    "x\n",
    "x" * 5_000,
    [],
    ["x"],
    {},
)


def check(kind: type[Settings], content: Any) -> None:
    """Refused in one line, or settings that a file can keep and that can be worked with."""
    found = refused_or(lambda: kind.from_json(content))
    if found is None:
        return
    kept = json.dumps(found.to_json(), allow_nan=False)
    assert kind.from_json(json.loads(kept)) == found
    hash(found)  # lists and objects cannot be


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
def test_odd_values(kind: type[Settings]) -> None:
    right = json.loads(json.dumps(RIGHT[kind].to_json()))
    assert kind.from_json(right) == RIGHT[kind]
    for name in right:
        for odd in ODD:
            check(kind, {**right, name: odd})


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (TrainSettings, {"validation": 5}),
        (TrainSettings, {"attention": ["hallucinated"]}),
        (ExportSettings, {"architecture": []}),
        (ExportSettings, {"merge": "no"}),
        (SearchSettings, {"proxies": [["params"]]}),
        (ScaleSettings, {"seed": True}),
    ],
)
def test_values_of_another_type_are_refused(kind: type[Settings], given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given)) + "|names of measures|'int' object"):
        kind.from_json({**RIGHT[kind].to_json(), **given})


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
@FEW
@given(data=st.data())
def test_settings(kind: type[Settings], data: st.DataObject) -> None:
    right = json.loads(json.dumps(RIGHT[kind].to_json()))
    check(kind, data.draw(changed_json(right)))


def _with_a_seed() -> list[Settings]:
    return [one for one in RIGHT.values() if "seed" in fields_of(type(one))]


@pytest.mark.parametrize("right", _with_a_seed(), ids=lambda one: type(one).__name__)
def test_seeds_that_no_generator_takes_are_refused(right: Settings) -> None:
    assert replace(right, seed=2**63 - 1).to_json()["seed"] == 2**63 - 1  # type: ignore[type-var]
    for seed, bound in (
        *((one, "at most 9223372036854775807") for one in (2**63, 2**64, 10**300)),
        *((-1, "at least 0"), (1.5, "a whole number"), ("1", "a whole number")),
    ):
        with pytest.raises(ValueError, match=f"^seed must be {bound}, got [^\n]{{1,250}}$"):
            replace(right, seed=seed)  # type: ignore[type-var]


def test_every_seed_has_bounds() -> None:
    assert {type(one) for one in _with_a_seed()} >= {
        *(SearchSettings, ScaleSettings, EvolutionSettings, SupernetSettings, BuildSettings),
        *(CorrelationSettings, TrainSettings),
    }
    for kind in every_kind():
        if kind.__module__.startswith("asvit.") and "seed" in fields_of(kind):
            option = option_of(fields_of(kind)["seed"])
            assert option is not None
            assert (option.at_least, option.at_most) == (0, 2**63 - 1)
