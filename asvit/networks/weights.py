"""Weights in files: ours say which network they are of, others hold weights alone."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from asvit._records import MALFORMED
from asvit._tensor_files import read_any_tensors, write_tensors
from asvit._types import check_values
from asvit.networks.network import Network
from proxies.messages import first_line, one_line, shown

SCHEMA_VERSION = 1
KIND = "network"

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # of released checkpoints
_SHOWN = 3
_LONGEST = 100  # characters of a name of weights in a message

# What torch.load raises on files that are damaged, or that would need code to be run.
_UNLOADABLE = (
    *(AssertionError, EOFError, ImportError, MemoryError, RuntimeError),
    *(pickle.UnpicklingError, struct.error, *MALFORMED),
)

# What a fact must be that something is computed or prepared with; others are only shown.
_FACTS: Mapping[str, Any] = {
    **dict.fromkeys(("mean", "std"), Sequence[float]),
    **{"interpolation": str, "crop_pct": float, "epoch": int, "seconds": float},
    **{"top1": float | None, "found_by": Mapping[str, Any] | None},
    **dict.fromkeys(("images", "weights", "tokens", "command", "asvit"), str),
}


@dataclass(frozen=True)
class WeightsFile:
    """A trained network as one safetensors file holds it.

    Attributes:
        network: What builds the network.
        weights: Its state dict.
        classes: Name of each class; empty if they have none.
        facts: What else is known, in the types of JSON: how images are normalised (``mean``,
            ``std``, ``interpolation``, ``crop_pct``), how it was found and trained.
    """

    network: Network
    weights: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> nn.Module:
        """The network with its weights, on the CPU, in evaluation mode.

        Raises:
            ValueError: If the weights are not those of the network.
        """
        model = self.network.build()
        load_state(model, self.weights, what=f"the weights of {self.network.architecture}")
        return model.eval()

    def write(self, path: Path) -> None:
        """Write the file as a whole or not at all.

        Raises:
            OSError: If it cannot be written; what was there is then still there.
        """
        header = {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "network": self.network.to_json(),
            "classes": list(self.classes),
            "facts": dict(self.facts),
        }
        # safetensors refuses tensors that share memory, as tied weights do.
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in self.weights.items()}
        write_tensors(path, tensors, header)

    @classmethod
    def read(cls, path: Path) -> WeightsFile:
        """Read the file.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it does not say which network it is of, is damaged, or is of a newer
                version.
        """
        header, weights = _read_safetensors(path)
        if header is None:
            raise ValueError(
                f"{path} holds weights but not which network they are of; name the architecture"
            )
        try:
            if (header["kind"], header["schema_version"]) != (KIND, SCHEMA_VERSION):
                raise ValueError(
                    f"kind {shown(header['kind'])}, schema {shown(header['schema_version'])}"
                )
            check_values(header, {"classes": Sequence[str], "facts": Mapping[str, Any]})
            facts = dict(header["facts"])
            _check_facts(facts)
            network, classes = Network.from_json(header["network"]), tuple(header["classes"])
            if len(classes) not in (0, network.num_classes):
                raise ValueError(f"{len(classes)} names of {network.num_classes} classes")
            return cls(network, weights, classes, facts)
        except MALFORMED as error:
            raise ValueError(
                f"{path} is not a network that this version can read: {first_line(error)}"
            ) from error


def read_state(path: Path) -> dict[str, Tensor]:
    """The weights of any file: ours, other safetensors, or PyTorch's own without its pickles.

    Released checkpoints hold theirs under a name; the moving average is taken where there is one.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no weights, is damaged, holds tensors of other than plain numbers,
            or would need code to be run.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights {str(path)!r}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)[1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about forms of files; those that matter are errors
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNLOADABLE as error:
        raise ValueError(
            f"{path} cannot be read as weights ({first_line(error)}); "
            "use .safetensors, or a PyTorch file of tensors alone"
        ) from error
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds no state dict, but a {type(content).__name__}")
    weights: dict[str, Tensor] = {}
    for name, tensor in content.items():
        if not isinstance(name, str):
            raise ValueError(f"{path} holds no state dict: {shown(name)} is no name")
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{path} holds no state dict: {shown(name)} is no tensor")
        weights[name] = tensor
    _check_plain(path, weights)
    return weights


def load_state(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    what: str,
    may_lack: Iterable[str] = (),
) -> tuple[str, ...]:
    """Put ``weights`` into ``model``, all of them.

    Args:
        model: The network.
        weights: Its state dict.
        what: What they are, for the message.
        may_lack: Beginnings of names that may be missing, unknown or of another shape, as those
            of a classifier are for other classes; such weights stay as they were.

    Returns:
        Names of the weights that stayed as they were.

    Raises:
        ValueError: If one is missing, unknown or of another shape. Nothing is changed then.
    """
    free = tuple(may_lack)
    own = model.state_dict()
    missing = [name for name in own if name not in weights]
    strange = [name for name in weights if name not in own]
    other = [n for n, t in own.items() if n in weights and weights[n].shape != t.shape]
    for names, fault in (
        (missing, "are missing"),
        (strange, "are unknown to it"),
        (other, "have another shape"),
    ):
        faulty = [name for name in names if not (free and name.startswith(free))]
        if faulty:
            more = f" and {len(faulty) - _SHOWN} more" if len(faulty) > _SHOWN else ""
            names_shown = ", ".join(one_line(name, most=_LONGEST) for name in faulty[:_SHOWN])
            raise ValueError(f"{what} do not fit the network: {names_shown}{more} {fault}")
    kept = {*missing, *other}
    model.load_state_dict({**own, **{n: weights[n] for n in own if n not in kept}})
    return tuple(name for name in own if name in kept)


def _read_safetensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """Our header, if there is one, and the tensors."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights {str(path)!r}")
    try:
        header, weights = read_any_tensors(path)
    except (SafetensorError, *MALFORMED) as error:
        raise ValueError(
            f"{path} is damaged, or no safetensors file: {first_line(error)}"
        ) from error
    _check_plain(path, weights)
    return header, weights


def _check_facts(facts: Mapping[str, Any]) -> None:
    check_values(facts, {name: kind for name, kind in _FACTS.items() if name in facts})
    for name in ("mean", "std"):
        if name in facts and len(facts[name]) != 3:
            raise ValueError(f"{name} has a number for each of 3 colours, not {len(facts[name])}")
    if not all(spread > 0 for spread in facts.get("std", ())):
        raise ValueError(f"std must be above 0, got {shown(facts['std'])}")


def _check_plain(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse tensors that no network of ours has, before anything computes with them."""
    for name, tensor in weights.items():
        if tensor.layout is not torch.strided or tensor.is_complex() or tensor.is_quantized:
            raise ValueError(f"{path}: {shown(name)} holds no plain numbers, but {tensor.dtype}")
