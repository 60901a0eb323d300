"""Files that are there as a whole or not at all, and paths as typed."""

from pathlib import Path

import pytest

from asvit.core.files import write_bytes, write_text


@pytest.mark.parametrize("cached", [False, True])
def test_what_is_written_is_there_alone(tmp_path: Path, cached: bool) -> None:
    for data in (b"one", b"two\r\n"):
        write_bytes(tmp_path / "a", data, cached=cached)
        assert (tmp_path / "a").read_bytes() == data
    write_text(tmp_path / "a", "κ\n")
    assert (tmp_path / "a").read_bytes() == "κ\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, cached: bool
) -> None:
    write_text(tmp_path / "a", "old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(type(error)):
        write_bytes(tmp_path / "a", b"new", cached=cached)
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "no" / "a", "new")
    assert caught.value.filename == str(tmp_path / "no" / "a")
