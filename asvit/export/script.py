"""The script beside an ONNX file that prepares pictures itself."""

from typing import Final

import numpy as np

from asvit.core.preparing_settings import BLACK
from asvit.data.decoding import FORMATS, MOST_PIXELS
from asvit.data.kinds import GREY, RGB, ImageKind
from asvit.export.formats import ABOUT

_FRAME: Final = '''\
"""python predict.py MODEL.onnx {WORD}...   classifies {ALL}; needs onnxruntime and Pillow."""

import json
import sys
import warnings
{SUPPRESS}
import numpy as np  # comes with onnxruntime
import onnxruntime
from PIL import Image{MORE}

warnings.simplefilter("ignore")  # of damaged data beside the pixels
{LIMITS}formats = ({FORMATS})  # others may start programs


def read(path):
{READ}    return array


def in_a_line(error):
    return (str(error) or type(error).__name__).splitlines()[0]


if len(sys.argv) < 3:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
try:
    model = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    if "probabilities" not in [output.name for output in model.get_outputs()]:
        raise ValueError("it takes prepared {ALL}; export it --with-preprocessing")
except Exception as error:
    print(f"cannot use {{sys.argv[1]}}: {{in_a_line(error)}}", file=sys.stderr)
    sys.exit(3)
about = model.get_modelmeta().custom_metadata_map
names = json.loads(about.get("classes", "null"))
ground = json.loads(about.get("{ABOUT}", "{{}}")).get("facts", {{}}).get("ground", "{BLACK}")
bad = 0
for path in sys.argv[2:]:
    try:
        ((shares,),) = model.run(["probabilities"], {{"image": read(path)}})
        if not np.isfinite(shares).all():
            raise ValueError("its numbers are so large that the model gives NaN or infinity")
    except Exception as error:
        print(f"cannot read {{path}}: {{in_a_line(error)}}", file=sys.stderr)
        bad += 1
        continue
    known = names or map(str, range(len(shares)))
    print(json.dumps({{"image": path, "probabilities": dict(zip(known, map(float, shares)))}}))
sys.exit(3 if bad else 0)
'''

_REFUSED: Final = """\
raise ValueError("its pixels are not 8-bit numbers; this model takes those")
"""
_PICTURE: Final = """\
    with open(path, "rb") as file:  # by a name, Pillow turns some TIFF files wrongly
        picture = Image.open(file, formats=formats)
        if picture.width * picture.height > most:
            raise ValueError(f"it has more than {{most:,}} pixels; use a smaller copy")
{OPENED}\
        picture.load()
        with suppress(Exception):  # damaged EXIF data: the picture stays as it is stored
            ImageOps.exif_transpose(picture, in_place=True)
{LOADED}\
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture)
    array = np.array({COLOURS}){AXIS}
"""
# Of 16-bit colours Pillow gives 8 without a word; these marks say how a file is decoded.
_CUT_TILES: Final = (";16B", ";16L", ";16N")
_WHOLE: Final = f"""\
        deep = any(mark in str(picture.tile) for mark in {_CUT_TILES})
        if picture.format == "PPM" and picture.mode == "RGB" and picture.tile[0][0] != "raw":
            deep = picture.tile[0][3][1] > 255
        signed = {{*getattr(picture, "tag_v2", {{}}).get(339, ())}} - {{1}}
        if picture.mode[0] in "IF" or deep or signed:
            {_REFUSED}\
"""
# A page that is a smaller copy says so.
_OPENED: Final = f"""\
{_WHOLE}\
        pages = range(picture.n_frames - 1, -1, -1) if picture.format == "TIFF" else ()
        if not all(picture.seek(page) or page < 1 or picture.tag_v2.get(254) for page in pages):
            raise ValueError("it has several pages; this model takes one picture")
"""
_CUT: Final = """\
    if picture.mode[0] in "IF":
        deep, clear = np.asarray(picture), picture.info.get("transparency")
        if picture.mode == "F" or (deep >> 16).any():
            raise ValueError("its pixels are not 8 or 16-bit integers; this model takes those")
        picture = Image.fromarray((deep >> 8).astype(np.uint8))
        picture.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
"""
# Drawing programs store their own data and large profiles in PNG files.
_LIMITS: Final = f"""\
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
most = Image.MAX_IMAGE_PIXELS = {MOST_PIXELS}
"""
_RGB: Final = 'picture.convert("RGB")'
_OF_PICTURES: Final = {  # by reading
    "": _PICTURE.format(OPENED=_OPENED, LOADED="", COLOURS=_RGB, AXIS=""),
    RGB: _PICTURE.format(OPENED="", LOADED=_CUT, COLOURS=_RGB, AXIS=""),
    GREY: _PICTURE.format(
        OPENED=_WHOLE, LOADED="", COLOURS=f'{_RGB}.convert("L")', AXIS="[..., None]"
    ),
}

_ARRAY: Final = """\
    with open(path, "rb") as file:  # by a name, Pillow turns some TIFF files wrongly
        stored = file.peek(2)[:2] == b"\\x93N"  # as NPY
        image = np.load(file) if stored else Image.open(file, formats=formats)
{OF_TYPE}        first = getattr(image, "ndim", 2) == 3 and image.shape[0] < min(image.shape[1:])
        other = not stored and (image.mode in {COLOURS} or getattr(image, "n_frames", 1) > 1)
        array = np.atleast_3d(np.moveaxis(np.array(image), 0 if first else -1, -1))
    if other or array.shape[2:] != ({CHANNELS},) or {ASSOCIATED}:
        raise ValueError("it is not read as {CHANNELS} channel(s) of numbers; save it as NPY")
    if array.dtype.name != "{NUMBERS}"{UNLESS} or {UNFIT}:
        raise ValueError("it has numbers that are not {FIT}; this model takes those")
    array = array.astype("{NUMBERS}")
"""
_COLOURS: Final = '("P", "CMYK", "LAB", "YCbCr")'  # modes, which asvit takes for pictures
# Pillow divides colours by an alpha that they are multiplied by: 2 is one that they are not.
_ASSOCIATED: Final = 'getattr(image, "tag_v2", {}).get(338, (2,)) != (2,)'
_OF_TYPE: Final = {
    "uint8": """\
        if getattr(image, "tag_v2", {}).get(262) == 0 and image.mode == "L":  # 0 is white
            image = image.point(lambda level: 255 - level)  # as Pillow inverts it
""",
    "uint16": """\
        if getattr(image, "format", "") == "PPM":  # whose numbers Pillow may scale
            raise ValueError("it has 16 bits a number, which PGM is not read with; use PNG")
""",
}


def _array(kind: ImageKind) -> str:
    """How images that are arrays are read: from NPY files, or by Pillow.

    Pillow gives many integers as int32, and some files in another order of bytes, which ONNX
    Runtime ignores. Of files of arrays no other numbers are taken, and none of pictures in colour,
    of several pages or of more channels than Pillow reads.
    """
    floats = np.dtype(kind.dtype).kind == "f"
    return _ARRAY.format(
        NUMBERS=kind.dtype,
        UNLESS="" if floats else ' and (stored or array.dtype.name != "int32")',
        FIT=f"{kind.dtype} up to 3.4e38" if floats else kind.dtype,
        UNFIT=(
            "not np.isfinite(np.float32(array)).all()"
            if floats
            else f'(array.astype("{kind.dtype}") != array).any()'
        ),
        OF_TYPE=_OF_TYPE.get(kind.dtype, ""),
        CHANNELS=kind.channels,
        COLOURS=_COLOURS,
        ASSOCIATED=_ASSOCIATED,
    )


def script_for(kind: ImageKind) -> str:
    """A program that classifies images of a kind by such a file; it needs none of our code.

    Images that Pillow cannot read, of several channels and more than 8 bits, are NPY files.

    Example:
        >>> compile(script_for(ImageKind()), "predict.py", "exec").co_filename
        'predict.py'
    """
    by_pillow = kind.picture or kind.reading == GREY
    return _FRAME.format(
        ABOUT=ABOUT,
        BLACK=BLACK,
        FORMATS=", ".join(f'"{name}"' for name in FORMATS),
        WORD="PICTURE" if by_pillow else "IMAGE",
        ALL="pictures" if by_pillow else "images",
        SUPPRESS="from contextlib import suppress\n" if by_pillow else "",
        MORE=", ImageOps, PngImagePlugin" if by_pillow else "",
        LIMITS=_LIMITS if by_pillow else "",
        READ=_OF_PICTURES[kind.reading] if by_pillow else _array(kind),
    )
