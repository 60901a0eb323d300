"""Writes a copy of a network in any of the formats."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.overrides import TorchFunctionMode

from asvit._version import __version__
from asvit.core.files import write_bytes, write_text
from asvit.core.running import ABOUT, INPUT, OUTPUT
from asvit.data.preparation import CROP_MODES, PREPARATION
from asvit.export.formats import CONFIG, WEIGHTS, Format
from asvit.models import HALLUCINATED_HOSTS
from asvit.networks import Network, WeightsFile
from asvit.spaces.timm_models import PREFIX, TimmModel, timm_config
from proxies.evaluation import FAILURES
from proxies.messages import fault, first_line

if TYPE_CHECKING:
    import onnx

#: Metadata entry with the names of the classes, as a list in JSON.
CLASSES: Final = "classes"

# Entries of timm's configurations that hold for its published weights alone.
_OF_PUBLISHED: Final = ("test_input_size", "test_crop_pct", "license", "origin_url")

_MOST_BYTES: Final = 2**31 - 2**24  # of an ONNX file, less some room for the graph
_TRACED: Final = 2  # images; a batch of one would be traced as a constant


def write_copy(form: Format, path: Path, *, model: nn.Module, content: WeightsFile) -> None:
    """Write a copy of the network to ``path``, a file or a folder for timm; not verified yet.

    The ``model`` is on the CPU and in evaluation mode; ``content`` is the same network with its
    weights and facts. Graphs take any number of images.
    """
    if form.name == "timm":
        write_timm_folder(content, model, path)
    elif form.name == "safetensors":
        content.write(path)
    elif form.name == "onnx":
        write_graph(graph_of(model, content), path, about=facts_of(content))
    else:
        network = content.network
        program = trace(model, image_size=network.image_size, channels=network.in_chans)
        write_pt2(program, path, about=json.dumps(facts_of(content), allow_nan=False))


def graph_of(
    model: nn.Module, content: WeightsFile, *, batch: int | None = None
) -> onnx.ModelProto:
    """The ONNX graph of a network, with its weights, for ``batch`` images or any number."""
    network = content.network
    side, channels = network.image_size, network.in_chans
    return onnx_graph(trace(model, image_size=side, channels=channels, batch=batch))


def facts_of(content: WeightsFile) -> dict[str, Any]:
    """What a graph says of its network."""
    return {"asvit": __version__, **content.description}


def trace(
    model: nn.Module, *, image_size: int, channels: int = 3, batch: int | None = None
) -> ExportedProgram:
    """Trace ``model`` for images of one size, and any number of them or ``batch``."""
    images = torch.zeros(batch or _TRACED, channels, image_size, image_size)
    shapes = None if batch else ({0: torch.export.Dim("batch")},)
    try:
        with _FourAxes():
            program = torch.export.export(model, (images,), dynamic_shapes=shapes, strict=False)
    except MemoryError:
        raise
    except FAILURES as error:  # the network may be anybody's
        raise ValueError(
            f"torch.export cannot follow this {type(model).__name__}: {fault(error)}"
        ) from error
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it has the folders of this machine's libraries
    return program


class _FourAxes(TorchFunctionMode):
    """Traces fused attention of any number of axes as one of four, the only one ONNX has.

    Queries, keys and values ``[batch, ..., tokens, channels]``, as Hiera's of its windows, become
    ``[batch, heads, tokens, channels]``; the result is the same.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = _of_four_axes if func is F.scaled_dot_product_attention else func
        return call(*args, **(kwargs or {}))


def _of_four_axes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *args: Any,
    **how: Any,
) -> Tensor:
    if query.ndim in (2, 4):
        return F.scaled_dot_product_attention(query, key, value, attn_mask, *args, **how)

    def flat(x: Tensor) -> Tensor:
        """With a single axis between the first and the last two."""
        return x.unsqueeze(1) if x.ndim == 3 else x.flatten(1, -3)

    if attn_mask is not None:
        attn_mask = flat(attn_mask.expand(*query.shape[:-1], key.shape[-2]))
    mixed = F.scaled_dot_product_attention(
        flat(query), flat(key), flat(value), attn_mask, *args, **how
    )
    return mixed.reshape(*query.shape[:-1], value.shape[-1])


def write_pt2(program: ExportedProgram, path: Path, *, about: str) -> None:
    """Write the program to ``path``, with the JSON text ``about`` beside it."""
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={ABOUT: about})
    write_bytes(path, content.getvalue())


def write_graph(graph: onnx.ModelProto, path: Path, *, about: Mapping[str, Any]) -> int:
    """Write an ONNX graph with its weights to ``path``.

    The JSON object ``about`` becomes metadata; the names of its classes are an entry of their own,
    too, which needs no knowledge of the rest.
    Returns the operator set of the file.
    """
    from onnx import helper

    texts = {ABOUT: json.dumps(about, allow_nan=False)}
    if about.get("classes"):
        texts[CLASSES] = json.dumps(about["classes"])
    helper.set_model_props(graph, texts)
    write_bytes(path, graph.SerializeToString())
    return next(int(one.version) for one in graph.opset_import if one.domain in ("", "ai.onnx"))


def onnx_graph(program: ExportedProgram) -> onnx.ModelProto:
    """The program as an ONNX graph with its weights."""
    size = sum(t.numel() * t.element_size() for t in program.state_dict.values())
    if size > _MOST_BYTES:
        raise ValueError(
            f"{size / 2**30:.1f} GiB of weights do not fit into an ONNX file, which holds 2; "
            "use pt2 or safetensors"
        )
    try:
        # With gradients, attention with a learned bias is decomposed to other strides than traced.
        with torch.no_grad():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                dynamic_shapes=({0: "batch"},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
    except (RuntimeError, ValueError) as error:
        reason: BaseException = error  # whose text, of many lines, is for developers of PyTorch
        while reason.__cause__ is not None:
            reason = reason.__cause__
        raise ValueError(
            f"PyTorch cannot write this network as ONNX: {first_line(reason)}"
        ) from error
    if exported is None:
        raise TypeError("torch.onnx.export gave no program")
    graph: onnx.ModelProto = exported.model_proto
    return graph


def write_timm_folder(content: WeightsFile, model: nn.Module, folder: Path) -> None:
    """Write the folder, which ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads."""
    folder.mkdir(exist_ok=True)
    content.write(folder / WEIGHTS)
    text = json.dumps(config(content, model), indent=2, allow_nan=False)
    write_text(folder / CONFIG, f"{text}\n")


def config(content: WeightsFile, model: nn.Module) -> dict[str, Any]:
    """Content of config.json, in timm's form."""
    network, facts = content.network, content.facts
    name, arguments = timm_arguments(network)
    published = timm_config(name).to_dict(remove_source=True)
    base = {key: value for key, value in published.items() if key not in _OF_PUBLISHED}
    entry = {
        **base,
        "input_size": list(network.image_shape),
        "num_classes": network.num_classes,
        "classifier": _classifier_name(model) or base.get("classifier"),
    }
    if own := {key: facts[key] for key in PREPARATION if key in facts}:
        entry |= {**own, "crop_mode": facts.get("crop_mode", CROP_MODES[0])}
    if network.in_chans != 3:
        entry["first_conv"] = None  # which timm would adapt, though it has these channels
    labels = {"label_names": list(content.classes)} if content.classes else {}
    return {
        "architecture": name,
        "num_classes": network.num_classes,
        **labels,
        "model_args": arguments,
        "pretrained_cfg": entry,
    }


def timm_arguments(network: Network) -> tuple[str, dict[str, Any]]:
    """The timm name of the network, and its arguments besides the number of classes.

    An unconverted timm model keeps its own name, so that it loads without asvit.
    """
    channels = {} if network.in_chans == 3 else {"in_chans": network.in_chans}
    if network.architecture.startswith(PREFIX) and network.attention is network.ffn is None:
        timm_model = TimmModel.parse(network.architecture)
        name = timm_model.name.partition(".")[0]
        if name not in HALLUCINATED_HOSTS:  # which timm cannot load weights into
            fixed = timm_config(name).fixed_input_size
            size = {"img_size": network.image_size} if fixed else {}
            return name, {**timm_model.arguments, **size, **channels}
    arguments = {
        "architecture": network.architecture,
        "img_size": network.image_size,
        **channels,
    }
    parts = {name: getattr(network, name) for name in ("attention", "ffn", "branches")}
    return "asvit", {**arguments, **{name: value for name, value in parts.items() if value}}


def _classifier_name(model: Any) -> str | None:
    """Name of the only linear map to classes, which timm does not load for other classes."""
    head = model.get_classifier() if hasattr(model, "get_classifier") else None
    if not isinstance(head, nn.Linear):
        return None
    names: dict[nn.Module, str] = {module: name for name, module in model.named_modules()}
    return names[head]
