"""What a worker process has to know as the one that started it does: spaces and measures."""

from collections.abc import Iterable, Mapping

from asvit.core.versions import code_versions
from asvit.spaces.architectures import parse
from asvit.spaces.base import SPACES, SearchSpace, load_space
from asvit.spaces.union import sources_of_spaces
from proxies import PROXIES, get_proxy
from proxies.registry import UnknownNameError, sources_of
from proxies.text import one_line

_UNKNOWN = (
    "a worker does not know what this process does, as it imports only the modules that "
    "ASVIT_EXTENSIONS names: {}"
)


def own_code() -> dict[str, str]:
    """Digests of the user's own measures and spaces in this process."""
    return code_versions(measure=sources_of(PROXIES), space=sources_of_spaces(SPACES.values()))


def check_same_code(code: Mapping[str, str]) -> None:
    """Refuse other code in this process than in that which stores what is measured."""
    here = own_code()
    if changed := [name for name in here if here[name] != code.get(name, here[name])]:
        raise ValueError(
            f"the code of {one_line(changed[0])} has changed since this run began; start it "
            "again, to measure with the new one"
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
