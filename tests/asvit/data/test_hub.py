"""Sets of the Hugging Face hub: what is read, and that none leads to the network unasked."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folders import fill
from PIL import Image

from asvit.data import open_training_sets
from asvit.data.libraries import (
    _has_addresses,
    _hub_part,
    _label_column,
    open_hub,
    open_hub_parts,
)
from tests.hostile import refused_or

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _offline_in_an_empty_cache(
    network_calls: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    yield
    assert network_calls == []


def table_of(images: list[Any], labels: Sequence[int | None] | None = None) -> Any:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"image": images, "label": labels or [0] * len(images)}
    return datasets.Dataset.from_dict(rows, features=features)


def test_a_local_set(tmp_path: Path) -> None:
    """In a layout that the library reads by itself."""
    fill(tmp_path / "train", cat=3, dog=3)
    dataset = open_hub(str(tmp_path))
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.picture(4).getpixel((0, 0)) == (1, 1, 0)
    assert datasets.config.HF_HUB_OFFLINE is False  # restored


def test_the_first_of_several_columns_of_labels_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kind = {name: datasets.ClassLabel(names=["a", name]) for name in ("artist", "style")}
    features = datasets.Features({"image": datasets.Image(), **kind})
    rows = {"image": [Image.new("RGB", (4, 4))] * 2, "artist": [0, 1], "style": [1, 0]}
    table = datasets.Dataset.from_dict(rows, features=features)
    images = _hub_part("art", table, _label_column("art", table), "")
    assert (images.classes, images.labels.tolist()) == (("a", "artist"), [0, 1])
    assert "several columns of kind ClassLabel, artist, style; 'artist' is used" in caplog.text


@pytest.mark.parametrize(
    ("kind", "values", "classes", "labels"),
    [
        ("string", ["dog", "cat", None, "dog", ""], ("cat", "dog"), [1, 0, 1]),
        ("large_string", ["e\u0301", "a"], ("a", "\u00e9"), [1, 0]),
        ("int64", [10, 2, 10, -1, None], ("2", "10"), [1, 0, 1]),
        ("int8", [-1, 1, 1], ("-1", "1"), [0, 1, 1]),
        ("uint16", [7, 7, 0], ("0", "7"), [1, 1, 0]),
        ("bool", [True, False, None], ("False", "True"), [1, 0]),
        ("float32", [0.5, 1.5], ("images",), [0, 0]),
    ],
)
@pytest.mark.parametrize("column", ["label", "Class"])
def test_labels_may_be_plain_values(
    kind: str, values: list[Any], classes: tuple[str, ...], labels: list[int], column: str
) -> None:
    rows = {
        "id": range(len(values)),
        "image": [Image.new("RGB", (4, 4))] * len(values),
        column: values,
    }
    features = {
        "id": datasets.Value("int64"), "image": datasets.Image(), column: datasets.Value(kind)
    }  # fmt: skip
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    images = _hub_part("set", table, _label_column("set", table), "")
    assert (images.classes, images.labels.tolist()) == (classes, labels)


def test_a_column_of_values_that_recur_has_the_labels_of_all_parts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def part(**columns: list[Any]) -> Any:
        count = len(next(iter(columns.values())))
        features = {name: datasets.Value("string") for name in columns}
        return datasets.Dataset.from_dict(
            {"image": [Image.new("RGB", (4, 4))] * count, **columns},
            features=datasets.Features({"image": datasets.Image(), **features}),
        )

    tables = {"train": part(breed=["pug", "cur", "pug", "cur"]), "test": part(breed=["pug"])}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: tables)
    train, other = open_hub_parts("me/set")
    assert (train.classes, train.labels.tolist()) == (("cur", "pug"), [1, 0, 1, 0])
    assert other.classes == ("pug",)
    sets = open_training_sets("hf:me/set", image_size=8, seed=0)
    assert sets.validation.labels.tolist() == [1]
    assert "declares no classes; those in column 'breed' are used" in caplog.text
    for columns in ({"caption": ["a", "b", "c"]}, {"x": ["a"] * 4, "y2": ["b"] * 4}):
        tables = {"train": part(**columns)}
        assert open_hub_parts("me/set")[0].classes == ("images",)
    tables = {"train": part(label=["Pug", "pug"])}
    with pytest.raises(ValueError, match="hf:me/set has the classes 'Pug' and 'pug', which"):
        open_hub_parts("me/set")


@pytest.mark.parametrize("name", ["~/pets", "csv"], ids=["home", "reader"])
def test_a_folder_is_opened_by_its_whole_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library expands no "~", and has a reader called "csv"."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / Path(name).name / "train", cat=1, dog=1)
    assert open_hub(name).classes == ("cat", "dog")


@pytest.mark.parametrize("parts", [("validation", "test"), ("test",), ()])
def test_parts(tmp_path: Path, parts: tuple[str, ...]) -> None:
    fill(tmp_path / "train", cat=3, dog=3)
    for number, part in enumerate(parts, 1):
        fill(tmp_path / part, cat=number, dog=1)
    train, other = open_hub_parts(str(tmp_path))
    assert len(train) == 6
    if not parts:
        assert other is None
        return
    assert other.classes == train.classes
    assert other.labels.tolist() == [0, 1]  # the first of the parts
    assert other.picture(1).getpixel((0, 0)) == (0, 1, 0)
    assert f" {parts[0]}, 2 images" in other.source


def test_a_part_without_labels_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"train": [0, 1], "validation": [-1, -1], "test": [1]}
    found = {part: table_of([Image.new("L", (4, 4))] * len(n), n) for part, n in labels.items()}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: found)
    _, other = open_hub_parts("me/set")
    assert other.labels.tolist() == [1]
    del found["train"], found["validation"]
    with pytest.raises(ValueError, match="hf:me/set has no part 'train'; its parts: test"):
        open_hub_parts("me/set")


@pytest.mark.parametrize("missing", [None, -1])
def test_images_without_a_label_are_left_out(
    missing: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {"train": [0, missing, 1, missing, 1], "test": [missing, 1]}
    tables = {
        part: table_of([Image.new("RGB", (4, 4), (n, 0, 0)) for n in range(len(own))], own)
        for part, own in labels.items()
    }
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: tables)
    train, other = open_hub_parts("me/set")
    assert train.labels.tolist() == [0, 1, 1]
    assert [np.asarray(train.picture(index))[0, 0, 0] for index in range(3)] == [0, 2, 4]
    assert other.labels.tolist() == [1]
    assert caplog.messages == [
        "2 of 5 images of hf:me/set have no label and are left out",
        "1 of 2 images of hf:me/set test have no label and are left out",
    ]
    tables["train"] = table_of([Image.new("RGB", (4, 4))], [missing])
    with pytest.raises(ValueError, match="hf:me/set has no image with a label in 'train'; save"):
        open_hub_parts("me/set")


def test_a_set_that_is_not_here() -> None:
    with pytest.raises(FileNotFoundError, match="ask for 'hf:nobody/nothing:download'"):
        open_hub("nobody/nothing")


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc", "a/../b", "/etc/none", "a/b/c", "owner/", "a b", "a\nb", "a\0b"),
        *("http://a.b/c", "https://a.b/c.zip", "hf://datasets/a/b", "s3://a/b", "file:///etc"),
        *("parquet", "pandas", "csv", "imagefolder", "webdataset", "a@b", "ö/ä"),
    ],
    ids=lambda name: ascii(name)[:20],
)
def test_what_is_no_name(name: str) -> None:
    for download in (False, True):
        assert refused_or(lambda download=download: open_hub(name, download=download)) is None


@pytest.mark.parametrize(
    "path",
    ["http://a.b/x.parquet", "https://a.b/x", "hf://datasets/a/b", '"http:\\u002f\\x2fa.b/x"'],
)
@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
def test_a_folder_whose_files_are_elsewhere(tmp_path: Path, name: str, path: str) -> None:
    folder = tmp_path / "set"
    fill(folder / "train", cat=1, dog=1)
    (folder / name).write_text(f"---\nconfigs:\n- config_name: a\n  data_files: {path}\n---\n")
    assert refused_or(lambda: open_hub(str(folder))) is None


def test_a_folder_that_only_tells_of_an_address(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    fill(folder / "train", cat=1, dog=1)
    readme = folder / "README.md"
    readme.write_text("---\nlicense: mit\n---\nSee https://a.b/c")
    assert not _has_addresses(readme)
    assert open_hub(str(folder)).classes == ("cat", "dog")
    readme.write_text("# Cats\nSee https://a.b/c\n")
    assert not _has_addresses(readme)


@pytest.mark.parametrize(
    "path", ["http://a.b/x.png", "/dev/zero", "zip://x.png::http://a.b/c.zip", "none.png"]
)
def test_images_that_are_elsewhere_are_not_fetched(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of([{"bytes": None, "path": path}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
    found = open_hub("me/set")
    assert refused_or(lambda: found.picture(0)) is None


def test_bytes_that_are_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    rows = [{"bytes": data, "path": None} for data in (b"", b"\xff", postscript)]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table_of(rows))
    found = open_hub("me/set")
    for index in range(3):
        assert refused_or(lambda index=index: found.picture(index)) is None


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    fill(folder / "train", cat=1, dog=1)
    mark = tmp_path / "run"
    (folder / "set.py").write_text(f"import os; os.mkdir({json.dumps(str(mark))})\n")
    refused_or(lambda: open_hub(str(folder)))
    assert not mark.exists()
