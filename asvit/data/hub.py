"""Images of the Hugging Face hub, through its ``datasets`` library.

Nothing here uses the network unless ``download`` is true.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from asvit.core.files import expanded
from asvit.data.base import LabelledImages
from asvit.data.files import FORMATS, read_image, to_rgb
from asvit.data.libraries import LibraryDataset
from proxies.messages import first_line, listed, shown

_MOST_BYTES = 2**20
_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
_DESCRIPTIONS = ("README.md", ".huggingface.yaml")  # may link to the files of a folder
_VALIDATION = ("validation", "valid", "val", "dev", "test")  # names of such parts, best first


def open_hub(name: str, *, download: bool = False) -> LabelledImages:
    """Open the training part of ``owner/dataset``, or of a local folder that the library can read.

    Raises:
        ImportError: If the library is not installed.
        FileNotFoundError: If it is not in the cache and ``download`` is false.
        OSError: If the download fails.
        ValueError: If it has no images with class labels.
    """
    return _labelled(name, _load(name, "train", download))


def open_hub_parts(
    name: str, *, download: bool = False
) -> tuple[LabelledImages, LabelledImages | None]:
    """Open the training part of a dataset of the hub, and its validation or test part, if any.

    A part with withheld labels (-1 by the hub's convention) is skipped.
    """
    tables = _load(name, None, download)
    if "train" not in tables:
        raise ValueError(f"hf:{name} has no part 'train'; its parts: {listed(tables)}")
    train = _labelled(name, tables["train"])
    for part in _VALIDATION:
        if part in tables:
            other = _labelled(f"{name} {part}", tables[part])
            if (other.labels >= 0).all():
                return train, other
    return train, None


def _load(name: str, part: str | None, download: bool) -> Any:
    """The table of a part of a dataset, or all tables by the name of their part."""
    try:
        import datasets
    except ImportError as error:
        message = f"images 'hf:{name}' need the datasets library: pip install 'asvit[train]'"
        raise ImportError(message) from error
    from datasets.exceptions import DatasetsError

    _check_name(name, download)
    try:
        with contextlib.nullcontext() if download else _offline():
            return datasets.load_dataset(name, split=part)
    except (DatasetsError, OSError, RuntimeError, ValueError) as error:
        reason = first_line(error)
        if not isinstance(error, OSError):
            raise ValueError(f"cannot open hf:{name}: {reason}") from error
        if download:
            raise OSError(f"cannot download hf:{name}: {reason}") from error
        raise FileNotFoundError(
            f"hf:{name} is not on this machine; ask for 'hf:{name}:download' to fetch it"
        ) from error


def _check_name(name: str, download: bool) -> None:
    """Check that ``name`` is a dataset, and that reading it needs no network unless asked for."""
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    folder = expanded(name)
    if folder.is_dir():
        found = [one for one in _DESCRIPTIONS if _tells_addresses(folder / one)]
        if found and not download:
            raise ValueError(
                f"{str(folder / found[0])!r} has addresses in its head;"
                f" ask for 'hf:{name}:download' if its files may be fetched from there"
            )
    elif not _NAME.fullmatch(name) or name in _PACKAGED_DATASETS_MODULES:
        raise ValueError(f"{shown(name)} is no name of a dataset; use hf:OWNER/NAME, or a folder")


def _tells_addresses(path: Path) -> bool:
    """Whether the part of a description that the library reads contains an address."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        text = file.read(_MOST_BYTES)
    if path.suffix == ".md":
        text = text.split(b"\n---", 1)[0] if text.startswith(b"---") else b""
    return b"://" in text or b"\\" in text  # escapes may hide an address


class _Encoded:
    """The images of a table, decoded here: the library would fetch images given as addresses."""

    def __init__(self, table: Any, column: str) -> None:
        import datasets

        kept = table.select_columns([column])
        self._rows = kept.cast_column(column, datasets.Image(decode=False))
        self._column = column

    def __getitem__(self, index: int) -> tuple[Image.Image]:
        stored = self._rows[index][self._column]
        if stored["bytes"] is not None:
            with Image.open(io.BytesIO(stored["bytes"]), formats=FORMATS) as image:
                return (to_rgb(image),)
        path = Path(stored["path"])
        if not path.is_file():
            raise ValueError(f"{shown(stored['path'])} is no file on this machine")
        return (read_image(path),)


def _labelled(name: str, table: Any) -> LabelledImages:
    """A table of the library as labelled images."""
    kinds = {type(kind).__name__: column for column, kind in reversed(table.features.items())}
    if "Image" not in kinds:
        raise ValueError(
            f"hf:{name} has no column of images; its columns: {listed(table.features)}"
        )
    classes: tuple[str, ...] = ("images",)
    labels = np.zeros(len(table), np.int64)
    if column := kinds.get("ClassLabel"):
        classes = tuple(table.features[column].names)
        labels = np.asarray(table[column][:], np.int64)
    source = f"Hugging Face {name}, {len(table)} images"
    return LibraryDataset(source, classes, labels, _Encoded(table, kinds["Image"]))


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep the Hugging Face libraries offline; their environment variable works only on import."""
    import datasets.config
    import huggingface_hub.constants

    modules: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value
