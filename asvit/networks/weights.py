"""Files of weights: ours with the settings of their network, others with weights alone."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from safetensors import SafetensorError
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from torch import Tensor, nn
from torch.nn import functional as F

from asvit.core.codec import MALFORMED, check_schema, check_values, content_fault, from_json
from asvit.core.tensor_files import read_any_tensors, write_tensors
from asvit.data.base import composed
from asvit.data.kinds import ImageKind
from asvit.data.preparation import Preparation
from asvit.networks.network import Network
from proxies.messages import first_line
from proxies.text import one_line, shown

SCHEMA_VERSION = 1
KIND = "network"

_PYTORCH = (".pth", ".pt", ".bin", ".ckpt")  # usual endings of its files, without a header
# Of released checkpoints, as keys of the state dict.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")  # of names in torch's networks for several GPUs, or compiled
_MAX_NAMES = 3  # of weights in a message
_LONGEST = 100  # characters of a name of weights in a message

_Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class _Facts:
    """The types of facts that are used in computation; others are only shown."""

    mean: Sequence[_Finite] = ()
    std: Sequence[Annotated[_Finite, Field(gt=0)]] = ()
    interpolation: _Filter = "bicubic"
    crop_pct: Annotated[float, Field(ge=0.05, le=2)] = 1  # above 1, as of VOLO, is a border
    crop_mode: Literal["center", "border", "squash"] = "center"
    ground: Literal["white", "black", "grey"] = "black"
    pixels: str = ""
    found_by: Mapping[str, Any] | None = None
    designed: Mapping[str, Any] | None = None


def _check_facts(facts: Mapping[str, Any], channels: int) -> None:
    """Check the types, and that there is a plausible number for each channel."""
    picture = ImageKind.of(from_json(facts, _Facts).pixels, channels).picture
    for name, least in (("mean", 0), ("std", 1e-3)):
        numbers = facts.get(name, [1.0] * channels)
        if len(numbers) != channels:
            raise ValueError(
                f"{name} has a number for each of {channels} channels, not {len(numbers)}"
            )
        # Above 1, or with a std near 0, they are those of pixels in 0 to 255, or damaged.
        if picture and not all(least <= number <= 1 for number in numbers):
            raise ValueError(
                f"{name} must be {least:g} to 1, as pixels are 0 to 1, got {shown(numbers)}"
            )


@dataclass(frozen=True)
class WeightsFile:
    """A trained network in a safetensors file."""

    network: Network  # settings of the network
    weights: Mapping[str, Tensor] = field(repr=False)  # its state dict
    classes: tuple[str, ...] = ()  # name of each class; empty if unnamed
    # Further facts as JSON types: how images are prepared (``mean``, ``std``, ``interpolation``,
    # ``crop_pct``, ``crop_mode``, ``ground``, and ``pixels`` of those that are no pictures; see
    # asvit.data.Preparation), how the network was searched and trained.
    facts: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> nn.Module:
        """The network with its weights, on the CPU, in evaluation mode.

        Raises:
            ValueError: If the weights do not fit the network.
        """
        with torch.random.fork_rng([]):
            model = self.network.build()
        load_state(model, self.weights, what=f"the weights of {self.network.architecture}")
        return model.eval()

    @property
    def preparation(self) -> Preparation:
        """How images are prepared for the network.

        Raises:
            ValueError: If the facts do not say of what images its channels are.
        """
        return Preparation.of(self.network.image_size, self.network.in_chans, self.facts)

    @property
    def description(self) -> dict[str, Any]:
        """The content without the weights, in JSON types; :meth:`described` reads it."""
        classes, facts = list(self.classes), dict(self.facts)
        return {"network": self.network.to_json(), "classes": classes, "facts": facts}

    def write(self, path: Path) -> None:
        """Write the file atomically.

        Raises:
            OSError: If it cannot be written; an existing file is then unchanged.
        """
        header = {"schema_version": SCHEMA_VERSION, "kind": KIND, **self.description}
        # safetensors rejects tensors that share memory, such as tied weights, and other layouts.
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.weights.items()
        }
        write_tensors(path, tensors, header)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            FileNotFoundError: If it does not exist.
            ValueError: If it lacks the settings of its network, is damaged, or is of another
                version.
        """
        pytorch = path.is_file() and path.suffix in _PYTORCH
        header, weights = (None, {}) if pytorch else _read_safetensors(path)
        if header is None:
            raise ValueError(
                f"{path} holds weights but not which network they are of; name the architecture, "
                "or give a copy that says it, by asvit export ARCH --weights FILE --to safetensors"
            )
        try:
            check_schema(header, KIND, SCHEMA_VERSION)
            return cls.described(header, weights)
        except MALFORMED as error:
            raise ValueError(
                f"{path} is not a network that this version can read: {content_fault(error)}"
            ) from error

    @classmethod
    def described(cls, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Self:
        """The content of a header, with weights.

        Raises:
            ValueError, KeyError, TypeError: If malformed (:data:`asvit.core.codec.MALFORMED`).
        """
        check_values(about, {"classes": Sequence[str], "facts": Mapping[str, Any]})
        facts = dict(about["facts"])
        network = Network.from_json(about["network"])
        _check_facts(facts, network.in_chans)
        classes = tuple(map(composed, about["classes"]))  # as those of images are
        if len(classes) not in (0, network.num_classes):
            raise ValueError(f"{len(classes)} names of {network.num_classes} classes")
        return cls(network, weights, classes, facts)


def read_state(path: Path) -> dict[str, Tensor]:
    """Weights from a file of ours, other safetensors, or a PyTorch file of tensors alone.

    Released checkpoints store their weights under a name; a moving average takes precedence.
    Prefixes are left out that torch puts before all names of a network that it wraps.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it has no weights, is damaged, has tensors that are not plain numbers, or
            would run code.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights {str(path)!r}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)[1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about file formats; real problems raise
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind where a file is damaged
        raise ValueError(
            f"{path} cannot be read as weights: it is damaged, or holds other objects than "
            "tensors, which may run any program; nothing of it was run; use .safetensors, or a "
            "PyTorch file of tensors alone"
        ) from error
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds a {type(content).__name__}, not a state dict")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{path} has no state dict: {shown(name)} is not a tensor")
    return _plain(path, dict(content))


def load_state(
    model: nn.Module, weights: Mapping[str, Tensor], *, what: str, may_lack: Iterable[str] = ()
) -> tuple[str, ...]:
    """Load ``weights`` into ``model``; names and shapes must match, and floats be floats.

    Args:
        model: The network.
        weights: Its state dict.
        what: Description of the weights, for messages.
        may_lack: Prefixes of names that may be missing, unknown, of another shape or no floats,
            such as those of a classifier for other classes. Their parameters keep their values.

    Returns:
        Names of the parameters that kept their values.

    Raises:
        ValueError: If a weight is missing, unknown, of another shape, or bool or whole numbers in
            the place of floats. Nothing changes then.
    """
    free = tuple(may_lack)
    own = model.state_dict()
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    other = [n for n, t in own.items() if n in weights and weights[n].shape != t.shape]
    whole = [
        name
        for name, tensor in own.items()
        if tensor.is_floating_point() and name in weights and not weights[name].is_floating_point()
    ]
    faults = {
        "are missing": missing,
        "are unknown to it": unexpected,
        "have another shape": other,
        "are not floating-point numbers": whole,
    }
    for fault, names in faults.items():
        faulty = [name for name in names if not (free and name.startswith(free))]
        if faulty:
            more = f" and {len(faulty) - _MAX_NAMES} more" if len(faulty) > _MAX_NAMES else ""
            listing = ", ".join(one_line(name, most=_LONGEST) for name in faulty[:_MAX_NAMES])
            raise ValueError(f"{what} do not fit the network: {listing}{more} {fault}")
    unchanged = {*missing, *other, *whole}
    model.load_state_dict({**own, **{n: weights[n] for n in own if n not in unchanged}})
    return tuple(name for name in own if name in unchanged)


def resampled(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for ``model``, with positions of another grid resampled to its own (bicubic)."""
    own = model.state_dict()
    return {
        name: _resized(name, tensor, own[name], model) if name in own else tensor
        for name, tensor in weights.items()
    }


def _resized(name: str, tensor: Tensor, own: Tensor, model: nn.Module) -> Tensor:
    """Resample a position tensor to the shape of ``own``; other tensors are unchanged."""
    if tensor.shape == own.shape or not tensor.is_floating_point():
        return tensor  # load_state will refuse integers
    place, _, kind = name.rpartition(".")
    if kind == "relative_position_bias_table" and tensor.shape[1:] == own.shape[1:]:
        window = getattr(model.get_submodule(place), "window_size", None)
        if window is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch warns about timm's interpolation
                table: Tensor = resize_rel_pos_bias_table(tensor, tuple(window), own.shape)
            return table
    if "pos_embed" in kind and tensor.ndim == own.ndim:
        if tensor.ndim == 4 and tensor.shape[:2] == own.shape[:2]:
            side = own.shape[-2:]
            return F.interpolate(tensor.float(), side, mode="bicubic", antialias=True)
        if tensor.ndim == 3 and tensor.shape[2] == own.shape[2]:
            return _resampled_tokens(tensor, own)
    return tensor  # load_state will refuse it


def _resampled_tokens(tensor: Tensor, own: Tensor) -> Tensor:
    """Resample ``[1, n, C]`` to ``[1, m, C]``: a square grid after some prefix tokens."""
    for prefix in range(3):  # class token, distillation token
        sides = [math.isqrt(max(t.shape[1] - prefix, 0)) for t in (tensor, own)]
        squares = [side**2 + prefix for side in sides]
        if squares == [tensor.shape[1], own.shape[1]] and all(sides):
            resampled: Tensor = resample_abs_pos_embed(
                tensor, new_size=[sides[1], sides[1]], num_prefix_tokens=prefix
            )
            return resampled
    return tensor


def _read_safetensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """Our header, if the file has one, and the tensors."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights {str(path)!r}")
    try:
        header, weights = read_any_tensors(path)
    except (SafetensorError, *MALFORMED) as error:
        raise ValueError(
            f"{path} is damaged, or no safetensors file: {first_line(error)}"
        ) from error
    return header, _plain(path, weights)


def _plain(path: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, if all are dense real numbers."""
    for name, tensor in weights.items():
        if tensor.is_meta:
            raise ValueError(f"{path}: {shown(name)} is a tensor on 'meta', which has no numbers")
        if tensor.layout is not torch.strided or tensor.is_complex() or tensor.is_quantized:
            raise ValueError(f"{path}: {shown(name)} has no plain numbers, but {tensor.dtype}")
    while weights and (wrapped := [p for p in _PREFIXES if all(n.startswith(p) for n in weights)]):
        weights = {name.removeprefix(wrapped[0]): tensor for name, tensor in weights.items()}
    return weights
