"""Safetensors files with our JSON header: tensors by name, and what they belong to."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from asvit.core.codec import parse_json
from asvit.core.files import write_bytes

_HEADER = "asvit"  # key in the metadata of safetensors, which holds strings only


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors, of which no two may share memory, and a header of JSON types, atomically."""
    text = json.dumps(header, allow_nan=False)
    write_bytes(path, save(dict(tensors), {_HEADER: text}))


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors, in hexadecimal: equal digests, equal names and values."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        total.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read header and tensors of a file written by :func:`write_tensors`."""
    header, tensors = read_any_tensors(path)
    if header is None:
        raise ValueError("the weights have no header of ours")
    return header, tensors


def read_header(path: Path) -> dict[str, Any]:
    """Read the header of a file written by :func:`write_tensors`, whatever its tensors are."""
    with safe_open(path, "pt") as file:
        header: dict[str, Any] = parse_json((file.metadata() or {}).get(_HEADER, ""))
    return header


def read_any_tensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """Read any safetensors file; the header is None if :func:`write_tensors` did not write it.

    Raises:
        FileNotFoundError: If there is no such file.
        SafetensorError: If it is damaged or not a safetensors file.
        ValueError: If the header is not JSON.
    """
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(_HEADER)
        header = None if text is None else parse_json(text)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return header, tensors
