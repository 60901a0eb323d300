"""Names of what is correlated: a measure, or the sum of ranks by several, written ``a+b``."""

from __future__ import annotations

from collections.abc import Sequence

from asvit.reference.settings import ALL
from proxies import PROXIES, get_proxy
from proxies.messages import unknown
from proxies.registry import Better, Proxy

PLUS = "+"


def parts(name: str) -> list[str]:
    """The measures of a combination; a measure alone is its own only part."""
    return name.split(PLUS)


def direction(name: str) -> Better:
    """Which side of a measure or a combination is better: of sums of ranks, the higher one."""
    return "higher" if PLUS in name else get_proxy(name).better


def counts() -> list[Proxy]:
    """The measures that look at no weights, params and macs first: the trivial rivals."""
    found = [proxy for proxy in PROXIES.values() if not proxy.random]
    return sorted(found, key=lambda proxy: proxy.name not in ("params", "macs"))


def is_trivial(name: str) -> bool:
    """Whether a measure or a combination looks at no weights."""
    return not any(get_proxy(part).random for part in parts(name))


def resolve(asked: Sequence[str]) -> tuple[str, ...]:
    """The counts, then what is asked for: each once, ``"all"`` taken apart, names checked.

    Raises:
        ValueError: If there is no such measure, or a combination cannot be ranked.
    """
    first = [proxy.name for proxy in counts()]
    rest = [one for name in asked for one in (PROXIES if name == ALL else (_checked(name),))]
    return tuple(dict.fromkeys([*first, *rest]))


def _checked(name: str) -> str:
    """``name`` without spaces, if every part of it is a measure that can be ranked."""
    found = [part.strip() for part in parts(name)]
    for part in found:
        if part not in PROXIES:
            raise ValueError(unknown("proxy", part, [*PROXIES, ALL]))
        if len(found) > 1 and PROXIES[part].better == "reported":
            raise ValueError(f"proxy {name!r}: {part!r} is only reported and cannot be ranked")
    if len(set(found)) < len(found):
        raise ValueError(f"proxy {name!r} names a measure more than once")
    return PLUS.join(found)
