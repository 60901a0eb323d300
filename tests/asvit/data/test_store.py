from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

from asvit.data import store

SHAPE = (3, 8, 8, 3)
ONE = slice(1, 2)


def pictures(seed: int = 0, count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "er" / "a.safetensors"
    assert store.write_pictures(path, pictures())
    return path


def test_what_is_written_is_read(kept: Path) -> None:
    everything = store.read_pictures(kept, SHAPE)
    assert everything is not None
    assert (everything == pictures()).all()
    one = store.read_pictures(kept, SHAPE, ONE)
    assert one is not None
    assert (one == pictures()[1:2]).all()
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]  # no left-overs


def damaged(data: bytes) -> dict[str, bytes]:
    return {
        **{f"cut to {keep}": data[:keep] for keep in (0, 5, 100, -1)},
        "another": save({"weights": np.zeros(3)}),
        "another kind": save({"pictures": np.zeros(SHAPE, np.float32), "crc32": np.zeros(3)}),
    }


@pytest.mark.parametrize("rows", [slice(None), ONE])
def test_a_missing_a_damaged_or_another_file_is_none(kept: Path, rows: slice) -> None:
    assert store.read_pictures(kept.with_name("b"), SHAPE, rows) is None
    assert store.read_pictures(kept.parent, SHAPE, rows) is None
    for other in ((4, 8, 8, 3), (3, 16, 16, 3)):
        assert store.read_pictures(kept, other, rows) is None
    for how, content in damaged(kept.read_bytes()).items():
        kept.write_bytes(content)
        assert store.read_pictures(kept, SHAPE, rows) is None, how


def test_one_flipped_bit_is_noticed(kept: Path) -> None:
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1  # the last byte of the last picture or of its checksum
    kept.write_bytes(data)
    assert store.read_pictures(kept, SHAPE) is None
    assert store.read_pictures(kept, SHAPE, slice(2, 3)) is None
    assert store.read_pictures(kept, SHAPE, ONE) is not None  # the others are good


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ASVIT_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/asvit"),
        ({"ASVIT_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/asvit"),
        ({"HOME": "/h"}, "/h/.cache/asvit"),
    ],
)
def test_cache_folder(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("ASVIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert store.cache_folder() == Path(expected)


def test_cache_folder_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("ASVIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert store.cache_folder().name == "asvit-cache"
