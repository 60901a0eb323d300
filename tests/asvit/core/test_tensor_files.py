"""Safetensors files with a header of ours."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asvit.core.tensor_files import read_any_tensors, read_tensors, write_tensors

HEADER = {"kind": "test", "numbers": [1, 2.5]}


@pytest.mark.parametrize("name", ["plain", "größer"])
def test_what_was_written_is_read_again_whatever_the_folder_is_called(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(True)}
    write_tensors(folder / "file", tensors, HEADER)
    header, found = read_tensors(folder / "file")
    assert header == HEADER
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)
    with pytest.raises(FileNotFoundError):
        read_tensors(folder / "other")


def test_a_file_of_others_has_no_header(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "file", {"format": "pt"})
    assert read_any_tensors(tmp_path / "file")[0] is None
    with pytest.raises(ValueError, match="have no header of ours"):
        read_tensors(tmp_path / "file")


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_tensors(tmp_path / "file", {}, {"seconds": float("nan")})
    assert not (tmp_path / "file").exists()
