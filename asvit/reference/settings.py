"""What a correlation measures, and what it asks of the scores."""

from collections.abc import Sequence
from typing import ClassVar

from asvit.core.settings import Presets, setting, settings_class
from asvit.core.shared_settings import MeasuringSettings, proxy_names
from proxies.registry import Better, Registry, get_proxy
from scaling.budget import Budget

ALL = "all"
PLUS = "+"
#: Settings that change what is asked of the scores, but no score.
QUERY = ("proxies", "targets", "rows", "max_params")


def parts(name: str) -> list[str]:
    """The measures of a rank sum ``"a+b"``; of a single measure, itself."""
    return name.split(PLUS)


def direction(name: str) -> Better:
    """The direction of a measure; rank sums are better when higher."""
    return "higher" if PLUS in name else get_proxy(name).better


def _names(targets: str | Sequence[str]) -> tuple[str, ...]:
    names = (targets,) if isinstance(targets, str) else targets
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"targets must be names of accuracies, got {targets!r}")
    return tuple(dict.fromkeys(names))


def _size(value: str | float) -> str:
    budget = Budget.parse(value)
    if budget.unit != "params":
        raise ValueError(f"max_params must count parameters, such as '100M', got {value!r}")
    return str(budget)


@settings_class(kw_only=True)
class CorrelationSettings(MeasuringSettings):
    """Settings of a correlation; equal settings give equal values."""

    presets: ClassVar[Presets] = Registry(
        "preset", {"default": {}, "quick": {"repeats": 1, "images": 8}}
    )

    reference: str = setting(
        ...,
        "Name of a reference table (see asvit list references), or the path of a CSV file.",
        metavar="TABLE",
        complete="asvit.reference:REFERENCES",
        listed=False,
    )
    proxies: tuple[str, ...] = setting(
        (ALL,),
        "Measure to correlate, or a+b for the sum of the ranks by a and by b; repeat it or "
        "separate names by commas.",
        name="proxy",
        metavar="NAME",
        convert=proxy_names,
        complete="asvit.reference.query:measures",
        listed=False,
    )
    targets: tuple[str, ...] = setting(
        (),
        "Accuracies to correlate with, by the name of their column; or all.",
        name="target",
        metavar="NAME",
        shown="the table's own",
        convert=_names,
    )
    rows: int | None = setting(
        None, "Take only N rows of the table, drawn by the seed.", at_least=1
    )
    max_params: str | None = setting(
        None,
        "Take only rows of at most so many parameters: 100M.",
        metavar="SIZE",
        convert=_size,
    )
    image_size: int | None = setting(  # type: ignore[assignment]  # None: that of each row
        None, "Side of the square images, in pixels.", at_least=1, shown="the table's own"
    )
    repeats: int = setting(
        2, "Freshly initialised networks each value is averaged over.", at_least=1
    )

    @property
    def most_params(self) -> int | None:
        """:attr:`max_params` as a number."""
        return None if self.max_params is None else Budget.parse(self.max_params).amount
