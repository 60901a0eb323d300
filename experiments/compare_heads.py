"""How similar are attention heads after a short training, with and without hallucinated maps?

A small DeiT with 4 heads, the same with half of its maps hallucinated, and the same with compact
FFNs as well, learn scikit-learn's digits. Their heads are then compared on the test images. Run
from a checkout: ``python -m experiments.compare_heads --out FOLDER`` writes a table and figures.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from asvit.models import convert
from asvit.training.short import Recipe, fit
from experiments.head_similarity import similarity_picture
from proxies import contribution_cosine_similarity, head_similarities

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


def digits() -> tuple[Tensor, Tensor]:
    """Images ``[1797, 1, 8, 8]`` in [-1, 1], and labels."""
    loaded = load_digits()
    pixels = torch.tensor(loaded.images, dtype=torch.float32)[:, None] / 8 - 1
    return pixels, torch.tensor(loaded.target)


def main() -> None:
    """Train the networks, compare their heads, and write the table and the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("heads"), help="output folder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(steps=options.steps, learning_rate=3e-3)
    pixels, labels = digits()
    train, test = (pixels[:TRAINED], labels[:TRAINED]), (pixels[TRAINED:], labels[TRAINED:])
    rows = []
    for seed in range(options.seeds):
        for name, parts in PARTS.items():
            model = network(parts, seed)
            fresh = contribution_cosine_similarity(model, test[0])
            fitted = fit(model, train, test, recipe, seed=seed)
            trained = contribution_cosine_similarity(model, test[0])
            rows.append((name, seed, f"{fitted.accuracy:.1f}", f"{fresh:.3f}", f"{trained:.3f}"))
            print(*rows[-1], sep="\t", flush=True)
            if seed == 0:
                picture = similarity_picture(head_similarities(model, test[0]))
                file = options.out / f"head-similarity-{name.replace(' ', '-')}.svg"
                file.write_text(picture.svg, encoding="utf-8")
    with (options.out / "heads.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("parts", "seed", "accuracy", "ccs_fresh", "ccs_trained"))
        writer.writerows(rows)


if __name__ == "__main__":
    main()
