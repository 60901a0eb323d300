"""The script beside an ONNX file that prepares pictures itself."""

from typing import Final

from asvit.core.run_files import PREDICT_SCRIPT

SCRIPT_NAME: Final = PREDICT_SCRIPT

#: Runs any such file; it needs none of our code.
SCRIPT: Final = '''\
"""python predict.py MODEL.onnx PICTURE...   classifies pictures; needs onnxruntime and Pillow.

An image of other channels or depths is an array [height, width, channels] in a .npy file.
"""

import json
import sys

import numpy as np  # comes with onnxruntime
import onnxruntime
from PIL import Image, ImageOps

model = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
formats = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others may start programs
names = json.loads(model.get_modelmeta().custom_metadata_map.get("classes", "null"))


def read(path):
    if path.endswith(".npy"):
        array = np.load(path)
        return array if array.ndim == 3 else array[..., None]
    picture = ImageOps.exif_transpose(Image.open(path, formats=formats))
    if picture.mode.startswith("I"):  # 16 bits: the upper 8
        picture = Image.fromarray((np.array(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:  # on black
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
    return np.array(picture.convert("RGB"))


for path in sys.argv[2:]:
    (shares,) = model.run(["probabilities"], {"image": read(path)})[0]
    known = names or map(str, range(len(shares)))
    print(json.dumps({"image": path, "probabilities": dict(zip(known, map(float, shares)))}))
'''
