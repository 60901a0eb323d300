"""How similar are attention heads after a short training, with and without hallucinated maps?

A small DeiT with 4 heads, the same with half of its maps hallucinated, and the same with compact
FFNs as well, learn scikit-learn's digits. Their heads are then compared on the test images. Run
from a checkout: ``python -m experiments.compare_heads`` stores rows and figures in ``runs/heads``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from asvit.core.files import write_text
from asvit.models import convert
from asvit.training.short import Recipe, fit
from experiments.head_similarity import similarity_svg
from experiments.study import Case, Study, cases, pivot
from proxies import contribution_cosine_similarity, head_similarities

OUT = Path("runs/heads")
STEPS = 400
TRAINED = 1440  # training images; the others are test images
PARTS: dict[str, dict[str, Any]] = {
    "ordinary": {},
    "hallucinated": {"attention": "hallucinated"},
    "both parts": {"attention": "hallucinated", "ffn": "compact"},
}


def network(parts: dict[str, Any], seed: int) -> nn.Module:
    """Build the network; its host has the same weights for every choice of parts."""
    torch.manual_seed(seed)
    host: nn.Module = VisionTransformer(
        img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=32, depth=4, num_heads=4
    )
    return convert(host, **parts) if parts else host


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Images ``[1797, 1, 8, 8]`` in [-1, 1], and labels."""
    loaded = load_digits()
    pixels = torch.tensor(loaded.images, dtype=torch.float32)[:, None] / 8 - 1
    return pixels, torch.tensor(loaded.target)


@dataclass(frozen=True)
class Row:
    """One training: accuracy in per cent, and similarity of the heads before and after it."""

    parts: str
    seed: int
    accuracy: float
    ccs_fresh: float
    ccs_trained: float


def train(parts: str, seed: int) -> Case:
    """Train a network and compare its heads; of the first seed, draw them."""
    pixels, labels = digits()
    train, test = (pixels[:TRAINED], labels[:TRAINED]), (pixels[TRAINED:], labels[TRAINED:])
    model = network(PARTS[parts], seed)
    fresh = contribution_cosine_similarity(model, test[0])
    fitted = fit(model, train, test, Recipe(steps=STEPS, learning_rate=3e-3), seed=seed)
    trained = contribution_cosine_similarity(model, test[0])
    if seed == 0:
        OUT.mkdir(parents=True, exist_ok=True)
        svg = similarity_svg(head_similarities(model, test[0]))
        write_text(OUT / f"head-similarity-{parts.replace(' ', '-')}.svg", svg)
    return {"accuracy": fitted.accuracy, "ccs_fresh": fresh, "ccs_trained": trained}


STUDY = Study(Row, OUT / "heads.csv", cases(seed=range(3), parts=PARTS), train)


def table() -> str:
    """Accuracy of each training, and the similarity of its heads before and after it."""

    def cell(rows: Sequence[Row]) -> str:
        (row,) = rows
        return f"{row.accuracy:.1f} %, {row.ccs_fresh:.3f}, {row.ccs_trained:.3f}"

    return pivot(STUDY.rows(), ["parts"], "seed", cell)


if __name__ == "__main__":
    STUDY.main(__doc__)
    print(table())
