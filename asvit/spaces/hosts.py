"""timm's models under the name ``timm:NAME``."""

import timm
from torch import nn

from proxies.messages import first_line, nearest, shown

PREFIX = "timm:"


def is_host(name: str) -> bool:
    """Whether timm can build a model of that name; what is behind a dot names its weights."""
    if not timm.is_model(name):
        return False
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # timm has no weights of that name
        return False
    return True


def check_host(name: str) -> None:
    """Make sure that timm can build a model of that name.

    Raises:
        ValueError: If it cannot; the message has the nearest name.
    """
    if not is_host(name):
        near = nearest(name, timm.list_models())
        hint = f"did you mean {PREFIX + near!r}?" if near else "asvit list models has the names"
        raise ValueError(f"timm has no model {shown(name)}; {hint}")


def build_host(
    name: str,
    *,
    image_size: int = 224,
    num_classes: int = 1000,
    drop_path: float | None = None,
    drop: float | None = None,
) -> nn.Module:
    """A freshly initialised timm model; nothing is downloaded.

    Args:
        name: timm's name, without the prefix.
        image_size: Side of the images in pixels.
        num_classes: Classes; 0 for the pooled features.
        drop_path: Drop-path probability of the last block; None for the model's own.
        drop: Dropout in front of the head; None for the model's own.

    Raises:
        ValueError: If timm has no such model, it cannot take such images, or it has no drop-path
            or dropout.
    """
    check_host(name)
    config = timm.get_pretrained_cfg(name)
    # Where timm fixes the input size when it builds a model, the model takes it by name.
    size = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
    rates = {"drop_path_rate": drop_path, "drop_rate": drop}  # timm leaves out those that are None
    try:
        model: nn.Module = timm.create_model(name, num_classes=num_classes, **size, **rates)
    except (ArithmeticError, AssertionError, LookupError) as error:
        raise _no_such_size(name, image_size, error) from error
    except RuntimeError as error:
        if "negative dimension" not in str(error):
            raise
        raise _no_such_size(name, image_size, error) from error
    except TypeError as error:
        missing = next((rate for rate in rates if f"'{rate}'" in str(error)), None)
        if missing is None:
            raise
        if rates[missing]:
            words = {"drop_path_rate": "drop-path", "drop_rate": "dropout"}[missing]
            raise ValueError(f"timm model {name!r} has no {words}; use 0") from error
        rates[missing] = None  # it has none, as was asked for
        model = timm.create_model(name, num_classes=num_classes, **size, **rates)
    return model


def _no_such_size(name: str, image_size: int, error: Exception) -> ValueError:
    return ValueError(f"timm model {name!r} cannot take {image_size} px: {first_line(error)}")
