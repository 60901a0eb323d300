"""Damages and forges copies of a network and a result, and checks what their readers make of it.

Usage::

    python -m tests.campaigns.tamper_copies [--tries 300] [--seed 0]

A copy in every format, and the ``result.json`` of a search, get flipped bits, other bytes, zeroed
or stale sectors, or lose their end. Others are forged: well formed and with the right digest, but
with weights of NaN, a mean of 1e308, fewer classes or other shapes. ``asvit predict`` or ``asvit
report`` must refuse the file in one line, or tell the same as of the whole one. What PyTorch alone
reads, ``.pt2``, must differ from the SHA-256 on its card.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from PIL import Image

from asvit.core.digests import FIELD, UNKNOWN, sealed
from asvit.core.files import write_bytes
from asvit.core.run_files import RESULT
from asvit.export.writers import ABOUT
from asvit.networks import Network, WeightsFile
from asvit.runs.exporting import export_network
from tests.campaigns import forked
from tests.campaigns.campaign import ANYWHERE, begin, flip_bits, outcomes_table

REFUSED, SAME, SILENT, BROKEN = "refused", "same result", "another result", "traceback or crash"
OUTCOMES = (REFUSED, SAME, SILENT, BROKEN)

NETWORK = Network("shift:1,1,1,1|1|8|1|16", image_size=32, num_classes=5)
CLASSES = ("cat", "dog", "fox", "owl", "ox")
FACTS = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "interpolation": "bilinear"}
SEARCH = "search --steps 2 --image-size 32 --repeats 1 --images 2 --points 3 --device cpu --quiet"
PICTURES, RUN = "pictures", "run"
COPIES = {
    "timm": "timm", "onnx": "model.onnx", "pt2": "model.pt2", "safetensors": "copy.safetensors"
}  # fmt: skip


def other_bytes(content: bytes, draw: random.Random) -> bytes:
    """One to eight random bytes in a row."""
    new = draw.randbytes(draw.randint(1, 8))
    start = draw.randrange(len(content) - len(new))
    return content[:start] + new + content[start + len(new) :]


DAMAGES = (*ANYWHERE, other_bytes)
#: File of a folder of :func:`prepare` and what its readers are given.
FILES: Mapping[str, Sequence[str]] = {
    "model.onnx": ("predict", PICTURES, "--weights", "model.onnx", "--json"),
    "copy.safetensors": ("predict", PICTURES, "--weights", "copy.safetensors", "--json"),
    "timm/model.safetensors": ("predict", PICTURES, "--weights", "timm", "--json"),
    "timm/config.json": ("predict", PICTURES, "--weights", "timm", "--json"),
    "model.pt2": ("predict", PICTURES, "--weights", "model.pt2", "--json"),
    f"{RUN}/{RESULT}": ("report", RUN, "--json"),
}


def nan_weight(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """One weight is NaN."""
    _first_large(weights).view(-1)[0] = torch.nan


def other_shape(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """A weight has another shape."""
    name = next(name for name, one in weights.items() if one is _first_large(weights))
    weights[name] = weights[name][:-1].clone()


def huge_mean(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Images are normalised with a mean of 1e308."""
    about["facts"]["mean"] = [1e308] * 3


def tiny_crop(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Images are cropped to nothing."""
    about["facts"].update(crop_pct=1e-9)


def no_interpolation(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Images are resized by what is no interpolation."""
    about["facts"].update(interpolation="evil")


def fewer_classes(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """One class less is named than there are outputs."""
    about["classes"] = about["classes"][:-1]
    about["network"]["num_classes"] -= 1


def fewer_names(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """One class has no name."""
    about["classes"] = about["classes"][:-1]


def other_network(about: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """The text is of a wider network; an ONNX graph does not show that, and tells the same."""
    about["network"]["architecture"] = "shift:1,1,1,1|1|8|1|32"


Forgery = Callable[[dict[str, Any], dict[str, torch.Tensor]], None]
FORGERIES: Sequence[Forgery] = (
    *(nan_weight, other_shape, huge_mean, tiny_crop, no_interpolation),
    *(fewer_classes, fewer_names, other_network),
)
FORGED = ("model.onnx", "copy.safetensors", "timm/model.safetensors")


def _first_large(weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return next(one for one in weights.values() if one.is_floating_point() and one.numel() > 16)


def forge(path: Path, forgery: Forgery) -> None:
    """Change a copy as a forger would, who writes the right digest."""
    if path.suffix == ".onnx":
        graph = onnx.load(path)
        (entry,) = graph.metadata_props
        about = json.loads(entry.value)
        kept = {one.name: one for one in graph.graph.initializer}
        weights = {
            name: torch.from_numpy(numpy_helper.to_array(one).copy()) for name, one in kept.items()
        }
        forgery(about, weights)
        for name, one in kept.items():
            one.CopyFrom(numpy_helper.from_array(weights[name].numpy(), name))
        entry.key, entry.value = ABOUT, json.dumps({**about, FIELD: UNKNOWN})
        write_bytes(path, *sealed(graph.SerializeToString()))
        return
    content = WeightsFile.read(path)
    about, weights = json.loads(json.dumps(content.description)), dict(content.weights)
    forgery(about, weights)
    network = _unchecked(Network, {**vars(content.network), **about["network"]})
    made = replace(content, network=network, weights=weights, classes=tuple(about["classes"]))
    replace(made, facts=about["facts"]).write(path)


def _unchecked(kind: type[Network], values: Mapping[str, Any]) -> Network:
    made = object.__new__(kind)
    made.__dict__.update(values)
    return made


def prepare(folder: Path, seed: int) -> None:
    """Make copies of a network in every format, pictures, and the run folder of a search."""
    torch.manual_seed(seed)
    model = NETWORK.build()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    (folder / PICTURES).mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 40, 50, 3)).astype(np.uint8)
    for place, one in enumerate(pixels):
        Image.fromarray(one).save(folder / PICTURES / f"{place}.png")
    weights = folder / "weights.safetensors"
    WeightsFile(NETWORK, model.state_dict(), CLASSES, FACTS).write(weights)
    for form, name in COPIES.items():
        export_network(weights=str(weights), to=form, out=str(folder / name))
    if forked.run(forked.command, [*SEARCH.split(), "--out", RUN], folder):
        raise RuntimeError(f"the search failed: {forked.printed(folder)}")


def told(folder: Path, words: Sequence[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in the folder."""
    for name in (forked.STDOUT, forked.STDERR):
        (folder / name).unlink(missing_ok=True)
    code = forked.run(forked.command, words, folder)
    return code, forked.printed(folder, forked.STDOUT), forked.printed(folder)


def outcome(folder: Path, file: str, whole: str) -> str:
    """What became of a changed file, whose reader says ``whole`` of the right one."""
    path = folder / file
    code, out, err = told(folder, FILES[file])
    lines = [line for line in err.splitlines() if line.startswith("asvit: ")]
    if code == 0:
        return SAME if out == whole else SILENT
    if code != 3 or "Traceback" in err or len(lines) != 1 or path.name not in lines[0]:
        print(f"{file}, {code}: {err}", file=sys.stderr)
        return BROKEN
    if path.suffix == ".pt2":  # which is never loaded
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        known = f"* SHA-256 of `{path.name}`: `{digest}`"
        return SILENT if known in path.with_name(f"{path.name}.md").read_text() else REFUSED
    return REFUSED


def tamper(folder: Path, file: str, tries: int, seed: int) -> Counter[str]:
    """Damage a file so often, and count what became of it. The file is whole again in the end."""
    draw, counts, path = random.Random(f"{seed} {file}"), Counter[str](), folder / file
    content, whole = path.read_bytes(), told(folder, FILES[file])[1]
    for _ in range(tries):
        how = flip_bits if file.endswith(RESULT) and draw.random() < 0.5 else draw.choice(DAMAGES)
        damaged = how(content, draw)
        if damaged != content:
            path.write_bytes(damaged)
            counts[outcome(folder, file, whole)] += 1
    path.write_bytes(content)
    return counts


def forged(folder: Path, file: str) -> Iterator[tuple[str, str]]:
    """Every forgery of a file, and what became of it."""
    path = folder / file
    content, whole = path.read_bytes(), told(folder, FILES[file])[1]
    for forgery in FORGERIES:
        forge(path, forgery)
        yield forgery.__name__.replace("_", " "), outcome(folder, file, whole)
        path.write_bytes(content)


def campaign(folder: Path, tries: int, seed: int) -> dict[tuple[str, str], Counter[str]]:
    """Damage and forge every file; the outcomes by file and what was done to it."""
    prepare(folder, seed)
    counts = {}
    for file in FILES:
        counts[file, "damaged"] = tamper(folder, file, tries, seed)
        print(f"{file}: {dict(counts[file, 'damaged'])}", file=sys.stderr)
    for file in FORGED:
        found = list(forged(folder, file))
        counts[file, "forged"] = Counter(what for _, what in found)
        print(f"{file}: {dict(found)}", file=sys.stderr)
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit code 1 if anything was used unnoticed, or ended in a traceback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=300, help="over all files")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    folder = begin("tamper-copies")
    counts = campaign(folder, -(-asked.tries // len(FILES)), asked.seed)
    shutil.rmtree(folder)
    print(outcomes_table(("file", "what was done"), OUTCOMES, counts))
    wrong = sum(found[one] for found in counts.values() for one in (SILENT, BROKEN))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
