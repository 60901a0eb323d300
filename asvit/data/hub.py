"""Images of the Hugging Face hub, through its own library.

Nothing here goes to the network unless ``download`` is true.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from asvit._text import first_line
from asvit.data.base import LabelledImages, Transform
from asvit.data.libraries import LibraryDataset

_VALIDATION = ("validation", "valid", "val", "dev", "test")  # what parts are called, best first


def open_hub(
    name: str, *, download: bool = False, transform: Transform | None = None
) -> LabelledImages:
    """Open the training part of a dataset of the Hugging Face hub.

    Args:
        name: ``owner/dataset``, or a local folder that the library can read.
        download: Fetch it if it is not in the library's own cache.
        transform: Applied to each picture.

    Raises:
        ImportError: If the library is not installed.
        FileNotFoundError: If it is not in the cache and ``download`` is false.
        OSError: If the download fails.
        ValueError: If it has no images with class labels.
    """
    return _labelled(name, _load(name, "train", download), transform)


def open_hub_parts(
    name: str, *, download: bool = False
) -> tuple[LabelledImages, LabelledImages | None]:
    """Open the training part of a dataset of the hub, and its part for validation or for tests.

    A part whose labels are kept back (-1 by the hub's custom) is passed over.

    Args:
        name: As for :func:`open_hub`.
        download: As there.

    Returns:
        The training part, and the other one; None if there is none with labels.

    Raises:
        ImportError: As :func:`open_hub`.
        FileNotFoundError: As there.
        OSError: As there.
        ValueError: As there, or if there is no part ``train``.
    """
    tables = _load(name, None, download)
    if "train" not in tables:
        raise ValueError(f"hf:{name} has no part 'train'; its parts: {', '.join(tables)}")
    train = _labelled(name, tables["train"], None)
    for part in _VALIDATION:
        if part in tables:
            other = _labelled(f"{name} {part}", tables[part], None)
            if (other.labels >= 0).all():
                return train, other
    return train, None


def _load(name: str, part: str | None, download: bool) -> Any:
    """The table of a part of a dataset, or the tables of all parts by name."""
    try:
        import datasets
    except ImportError as error:
        message = f"images 'hf:{name}' need the datasets library: pip install 'asvit[train]'"
        raise ImportError(message) from error
    from datasets.exceptions import DatasetsError

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


def _labelled(name: str, table: Any, transform: Transform | None) -> LabelledImages:
    """A table of the library as a set of ours."""
    kinds = {type(kind).__name__: column for column, kind in reversed(table.features.items())}
    if "Image" not in kinds:
        raise ValueError(f"hf:{name} has no column of images; its columns: {list(table.features)}")
    classes: tuple[str, ...] = ("images",)
    labels = np.zeros(len(table), np.int64)
    if column := kinds.get("ClassLabel"):
        classes = tuple(table.features[column].names)
        labels = np.asarray(table[column][:], np.int64)
    return LibraryDataset(
        f"Hugging Face {name}, {len(table)} images",
        classes,
        labels,
        items=table.select_columns([kinds["Image"]]),
        key=kinds["Image"],
        transform=transform,
    )


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep the Hugging Face libraries off the network; they read the variable only on import."""
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
