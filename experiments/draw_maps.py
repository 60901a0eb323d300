"""Draws the pictures of attention maps and of tokens for the docs, of a fractal image.

Run from a checkout: ``python -m experiments.draw_maps`` writes into ``docs/images``.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

import asvit
from asvit.core.files import write_text
from asvit.data.fractals import fractal_image

IMAGES = Path(__file__).parents[1] / "docs" / "images"


def main(folder: Path = IMAGES, size: int = 224) -> None:
    """Write ``hallucinated-maps.svg`` and ``psvit-tokens.svg``."""
    with TemporaryDirectory() as made:
        photo = Path(made) / "fractal.png"
        Image.fromarray(fractal_image(0, 3, 0, size=size)).save(photo)
        deit = "timm:hallucinated_deit_tiny_patch16_224"
        (maps,) = asvit.attention_maps(deit, [photo], image_size=size)
        psvit = "psvit1d:ss----|s-----|bb----"
        (_, tokens) = asvit.attention_maps(psvit, [photo], image_size=size)
    write_text(folder / "hallucinated-maps.svg", maps.svg)
    write_text(folder / "psvit-tokens.svg", tokens.svg)


if __name__ == "__main__":
    main()
