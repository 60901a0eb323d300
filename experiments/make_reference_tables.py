"""Makes the reference tables that come with asvit from published extracts.

``python -m experiments.make_reference_tables FOLDER`` reads ``vitbench101_pit.csv``,
``vitbench101_autoformer.csv`` and ``timm_in1k_vit.csv`` in FOLDER, counts the
parameters and multiply-adds of every network, compares them with the extracts, and writes the
tables into ``asvit/reference``. The same input gives the same bytes.
"""

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from asvit.core.files import write_text
from asvit.reference import Target
from asvit.reference.table import Cell, format_table, read_sheet
from asvit.spaces.architectures import build_on_meta, canonical
from proxies import structure
from proxies.counts import Cost, count

OUT = Path(__file__).parent.parent / "asvit" / "reference"
DECIMALS = 4  # of an accuracy; further ones in the extracts are floating-point noise


@dataclass(frozen=True)
class Source:
    """An extract, and the metadata of its table.

    Attributes:
        extract: Name of the extract's file.
        text: Makes the text of an architecture of a row's cells.
        table: Name of the table's file.
        provenance: Key -> value.
        targets: Columns of accuracies.
        kept: Other columns to copy unchanged.
        counts: Measures without weights to count, beside params and macs, where counting again
            takes minutes.
    """

    extract: str
    text: Callable[[Mapping[str, str]], str]
    table: str
    provenance: Mapping[str, str]
    targets: tuple[Target, ...]
    kept: tuple[str, ...]
    counts: tuple[str, ...] = ()


def _vitbench(network: str, extract: str) -> dict[str, str]:
    return {
        "title": f"ViT-Bench-101, {network}",
        "source": f"github.com/lilujunai/Auto-Prox-AAAI24, gt_results/gt_{extract}.pth, commit "
        "90ed458eff6948a6f0d23e440a8d21bbec50d091; Wei et al. 2023, arXiv:2312.09059",
        "licence": "Apache-2.0 by the LICENSE file of the source; its README says MIT",
        "recipe": "AdamW, learning rate 5e-4, weight decay 0.05, 300 epochs, batch 128, 224 px, "
        "by configs/auto of the source",
        "accuracies": "test accuracy in per cent, as the source has it; no spread over seeds "
        "given",
        "counts": "counted here with 100 classes at 224 px; they agree with the rounded ones of "
        "the extract in every digit",
    }


def _by_dataset(dataset: str, column: str) -> tuple[Target, Target]:
    return (
        Target(f"{column}_base_acc", f"{dataset}, trained from scratch", "scratch"),
        Target(f"{column}_kd_acc", f"{dataset}, distilled from a convolutional net", "distilled"),
    )


_DATASETS = (
    *_by_dataset("CIFAR-100", "c100"),
    *_by_dataset("Flowers", "flower"),
    *_by_dataset("Chaoyang", "chaoyang"),
)
_INHERITED = Target(
    "imagenet_super_acc", "ImageNet-1k, weights inherited from a supernet", "inherited"
)


def _pit(cells: Mapping[str, str]) -> str:
    depths, heads = _entries(cells["depth"]), _entries(cells["num_heads"])
    return f"pit:{cells['base_dim']},{cells['mlp_ratio']}|{depths}|{heads}"


def _autoformer(cells: Mapping[str, str]) -> str:
    heads, ratios = _entries(cells["num_heads"]), _entries(cells["mlp_ratio"])
    return f"autoformer:{cells['hidden_dim']}|{heads}|{ratios}"


def _entries(cell: str) -> str:
    """The entries of a list in one cell, ``2 8 4`` or ``[2, 8, 4]``, with commas."""
    return ",".join(re.split(r"[\s,;]+", cell.strip("[]()")))


SOURCES = (
    Source(
        "vitbench101_pit.csv",
        _pit,
        "vitbench101_pit.csv",
        {**_vitbench("PiT", "pit"), "num_classes": "100", "default_target": "c100_base_acc"},
        _DATASETS,
        ("idx",),
    ),
    Source(
        "vitbench101_autoformer.csv",
        _autoformer,
        "vitbench101_autoformer.csv",
        {
            **_vitbench("AutoFormer", "autoformer"),
            "networks": "queries, keys and values as wide as the network, whatever the heads; the "
            "head reads the mean of the patches",
            "num_classes": "100",
            "default_target": "c100_base_acc",
        },
        (*_DATASETS, _INHERITED),
        ("idx",),
    ),
    Source(
        "timm_in1k_vit.csv",
        lambda cells: f"timm:{cells['arch']}",
        "timm_in1k.csv",
        {
            "title": "vision transformers of timm trained on ImageNet-1k alone",
            "source": "github.com/huggingface/pytorch-image-models, results/results-imagenet.csv, "
            "-real.csv, -imagenetv2-matched-frequency.csv, commit aa4b5850c1543fa",
            "licence": "Apache-2.0",
            "recipe": "each model's own, so accuracies differ by more than the architecture; "
            "supervised training on ImageNet-1k without distillation or other data, by the tag of "
            "the weights; one row an architecture, at 224 to 256 px",
            "accuracies": "of the published weights in per cent, as the source has them; no "
            "spread over seeds given",
            "counts": "counted here with 1000 classes at the image size; parameters agree with "
            "the rounded ones of the extract in every digit",
            "num_classes": "1000",
            "default_target": "top1",
        },
        (
            Target("top1", "ImageNet-1k validation, top-1", "scratch"),
            Target("top5", "ImageNet-1k validation, top-5", "scratch"),
            Target("real_top1", "ImageNet-1k validation with ReaL labels, top-1", "scratch"),
            Target("v2_top1", "ImageNetV2 matched frequency, top-1", "scratch"),
        ),
        ("tag", "module", "kind"),
        ("depth", "width", "expansions"),
    ),
)


def make(source: Source, folder: Path) -> str:
    """The text of a table.

    Raises:
        ValueError: If the extract has another form, or its counts differ from ours.
    """
    sheet = read_sheet(folder / source.extract)
    each = zip(*sheet.columns.values(), strict=True)
    cells_of = [dict(zip(sheet.columns, cells, strict=True)) for cells in each]
    rows = [cells for cells in cells_of if cells.get("primary", "True") == "True"]
    texts = [canonical(source.text(cells)) for cells in rows]
    sides = [int(cells.get("img_size", 224)) for cells in rows]
    counted: dict[str, list[float]] = {name: [] for name in source.counts}
    costs: list[Cost] = []
    for text, side in zip(texts, sides, strict=True):
        classes = int(source.provenance["num_classes"])
        network = build_on_meta(text, image_size=side, num_classes=classes)
        costs.append(count(network, side))
        for name in source.counts:
            counted[name].append(_value(name, network))
    _compare(source.extract, texts, rows, costs)
    columns: dict[str, Sequence[Cell]] = {
        "architecture": texts,
        "image_size": sides,
        "params": [cost.params for cost in costs],
        "macs": [cost.macs for cost in costs],
        **counted,
    }
    for target in source.targets:
        texts_of = [cells[target.name] for cells in rows]
        columns[target.name] = [round(float(one), DECIMALS) if one else None for one in texts_of]
    for name in source.kept:
        columns[name] = [cells[name] for cells in rows]
    return format_table(source.provenance, source.targets, columns)


def _value(name: str, network: nn.Module) -> float:
    """A count of a network on the meta device; NaN where it has none."""
    counts = {
        "depth": structure.depth,
        "width": structure.embedding_width,
        "expansions": structure.total_expansion,
    }
    try:
        return counts[name](network)
    except ValueError:
        return math.nan


def _compare(
    extract: str,
    texts: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    costs: Sequence[Cost],
) -> None:
    """Check parameters against the rounded ones of an extract, and print where MACs differ."""
    for name, cells, cost in zip(texts, rows, costs, strict=True):
        text = cells["params_M"]
        if abs(float(text) - cost.params / 1e6) > 0.5 * _unit(text) * (1 + 1e-9):
            raise ValueError(f"{name}: {cost.params} parameters, the extract has {text} M")
    ratios = {
        text: 1e-9 * cost.macs / float(cells["gmacs"])
        for text, cells, cost in zip(texts, rows, costs, strict=True)
    }
    other = {text: ratio for text, ratio in ratios.items() if abs(ratio - 1) > 0.05}
    print(f"{extract}: {len(rows)} rows, multiply-adds over the extract's:")
    print(f"  {min(ratios.values()):.4f} to {max(ratios.values()):.4f}, {len(other)} off by 5 %")
    for text, ratio in sorted(other.items(), key=lambda item: item[1]):
        print(f"  {ratio:.3f} {text}")


def _unit(text: str) -> float:
    """The unit of the last digit of a decimal number."""
    return float(10 ** -len(text.partition(".")[2]))


def main() -> None:
    """Make all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the extracts are")
    parser.add_argument("--out", type=Path, default=OUT, help="where the tables go")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        write_text(options.out / source.table, make(source, options.folder))


if __name__ == "__main__":
    main()
