"""Sets of the Hugging Face hub: no name and no file of one leads to the network unasked."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asvit.data.hub import _tells_addresses, open_hub
from tests.hostile import refused_or

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def went(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """Every try to go to the network."""
    tries: list[object] = []

    def refuse(*given: object, **_named: object) -> None:
        tries.append(given[1:])
        raise OSError("no network in this test")

    for name in ("socket.connect", "socket.connect_ex", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(f"socket.{name}", refuse)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tries


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc", "a/../b", "/etc/none", "a/b/c", "owner/", "a b", "a\nb", "a\0b"),
        *("http://a.b/c", "https://a.b/c.zip", "hf://datasets/a/b", "s3://a/b", "file:///etc"),
        *("parquet", "pandas", "csv", "imagefolder", "webdataset", "a@b", "ö/ä"),
    ],
    ids=lambda name: ascii(name)[:20],
)
def test_what_is_no_name(name: str, went: list[object]) -> None:
    for download in (False, True):
        assert refused_or(lambda download=download: open_hub(name, download=download)) is None
    assert went == []


def images(folder: Path) -> Path:
    for name in ("cat", "dog"):
        (folder / "train" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(folder / "train" / name / "1.png")
    return folder


@pytest.mark.parametrize(
    "path",
    ["http://a.b/x.parquet", "https://a.b/x", "hf://datasets/a/b", '"http:\\u002f\\x2fa.b/x"'],
)
@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
def test_a_folder_whose_files_are_elsewhere(
    tmp_path: Path, name: str, path: str, went: list[object]
) -> None:
    folder = images(tmp_path / "set")
    (folder / name).write_text(f"---\nconfigs:\n- config_name: a\n  data_files: {path}\n---\n")
    assert refused_or(lambda: open_hub(str(folder))) is None
    assert went == []


def test_a_folder_that_only_tells_of_an_address(tmp_path: Path) -> None:
    folder = images(tmp_path / "set")
    readme = folder / "README.md"
    readme.write_text("---\nlicense: mit\n---\nSee https://a.b/c")
    assert not _tells_addresses(readme)
    assert open_hub(str(folder)).classes == ("cat", "dog")
    readme.write_text("# Cats\nSee https://a.b/c\n")
    assert not _tells_addresses(readme)


@pytest.mark.parametrize(
    "path", ["http://a.b/x.png", "/dev/zero", "zip://x.png::http://a.b/c.zip", "none.png"]
)
def test_images_that_are_elsewhere_are_not_fetched(
    path: str, went: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of([{"bytes": None, "path": path}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
    found = open_hub("me/set")
    assert refused_or(lambda: found.picture(0)) is None
    assert went == []


def table_of(stored: list[dict[str, Any]]) -> Any:
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    labels = [0] * len(stored)
    return datasets.Dataset.from_dict({"image": stored, "label": labels}, features=features)


def test_bytes_that_are_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    rows = [{"bytes": data, "path": None} for data in (b"", b"\xff", postscript)]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table_of(rows))
    found = open_hub("me/set")
    for index in range(3):
        assert refused_or(lambda index=index: found.picture(index)) is None


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    folder = images(tmp_path / "set")
    mark = tmp_path / "run"
    (folder / "set.py").write_text(f"import os; os.mkdir({json.dumps(str(mark))})\n")
    refused_or(lambda: open_hub(str(folder)))
    assert not mark.exists()
