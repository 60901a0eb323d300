"""What a worker process has to know as the one that started it does: spaces and measures."""

from collections.abc import Iterable

from asvit.spaces.architectures import parse
from asvit.spaces.base import SearchSpace, load_space
from proxies import get_proxy
from proxies.registry import UnknownNameError

_UNKNOWN = (
    "a worker does not know what this process does, as it imports only the modules that "
    "ASVIT_EXTENSIONS names: {}"
)


def check_known(names: Iterable[str], architectures: Iterable[str]) -> None:
    """Refuse measures, or texts of architectures, that are not known in this process, too."""
    try:
        for name in names:
            get_proxy(name)
        for text in architectures:
            parse(text)
    except ValueError as error:
        raise ValueError(_UNKNOWN.format(error)) from error


def known_space(name: str | None) -> SearchSpace | None:
    """The space called ``name``, which must be registered in this process, too."""
    try:
        return None if name is None else load_space(name)
    except UnknownNameError as error:
        raise ValueError(_UNKNOWN.format(error)) from error
