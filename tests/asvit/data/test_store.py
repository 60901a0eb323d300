import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from asvit.data import store


def pictures(seed: int = 0, count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "er" / "a.safetensors"
    assert store.write_pictures(path, pictures())
    return path


def test_what_is_written_is_read(kept: Path) -> None:
    everything = store.read_pictures(kept, (3, 8, 8, 3))
    assert everything is not None
    assert (everything == pictures()).all()
    one = store.read_picture(kept, 1, (8, 8, 3))
    assert one is not None
    assert (one == pictures()[1]).all()
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]  # no left-overs


def test_a_missing_file_or_another_shape_is_none(kept: Path) -> None:
    assert store.read_pictures(kept.with_name("b"), (3, 8, 8, 3)) is None
    assert store.read_picture(kept.with_name("b"), 0, (8, 8, 3)) is None
    assert store.read_pictures(kept, (4, 8, 8, 3)) is None
    assert store.read_picture(kept, 0, (16, 16, 3)) is None
    assert store.read_picture(kept, 3, (8, 8, 3)) is None
    assert store.read_pictures(kept.parent, (3, 8, 8, 3)) is None


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_cut_file_is_none(kept: Path, keep: int) -> None:
    kept.write_bytes(kept.read_bytes()[:keep])
    assert store.read_pictures(kept, (3, 8, 8, 3)) is None
    assert store.read_picture(kept, 0, (8, 8, 3)) is None


def test_one_flipped_bit_is_noticed(kept: Path) -> None:
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1  # the last byte of the last picture or of its checksum
    kept.write_bytes(data)
    assert store.read_pictures(kept, (3, 8, 8, 3)) is None
    assert store.read_picture(kept, 2, (8, 8, 3)) is None
    assert store.read_picture(kept, 0, (8, 8, 3)) is not None  # the others are good


def test_a_file_of_something_else_is_none(kept: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"weights": np.zeros(3)}, kept)
    assert store.read_pictures(kept, (3, 8, 8, 3)) is None
    assert store.read_picture(kept, 0, (8, 8, 3)) is None


def test_a_folder_that_cannot_be_written_warns_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        for name in "ab":
            assert not store.write_pictures(tmp_path / "file" / name, pictures())
    assert len(caplog.records) == 1
    assert str(tmp_path / "file") in caplog.text


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert not store.write_pictures(tmp_path / "a", pictures())
    assert list(tmp_path.iterdir()) == []


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    sets = [pictures(seed, 40) for seed in range(2)]
    store.write_pictures(path, sets[0])
    with ThreadPoolExecutor(3) as pool:
        writes = [pool.submit(store.write_pictures, path, sets[i % 2]) for i in range(40)]
        while not all(write.done() for write in writes):
            read = store.read_pictures(path, sets[0].shape)
            assert read is not None
            assert any((read == expected).all() for expected in sets)
    assert all(write.result() for write in writes)


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
