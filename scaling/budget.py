"""Budgets: ``"88M"`` parameters, ``"22G"`` multiply-adds or ``"12ms"`` for a forward pass."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from operator import index
from typing import Any, Literal, Self

Unit = Literal["params", "macs", "latency"]

UNIT_NAMES: dict[Unit, str] = {
    "params": "parameters",
    "macs": "multiply-adds",
    "latency": "microseconds of latency",
}

_SUFFIXES: dict[str, tuple[int, Unit]] = {
    "K": (10**3, "params"),
    "M": (10**6, "params"),
    "G": (10**9, "macs"),
    "ms": (10**3, "latency"),
    "s": (10**6, "latency"),
}
_TEXT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE]\+?[0-9]{1,2})?)\s*([KMGkmg]?|ms|s)")
_MOST = 10**17
_MIN_WITHOUT_SUFFIX = 100_000  # a smaller plain number is missing its suffix
_MIN_PLAIN_MACS = 10**9  # larger plain numbers are multiply-adds, as with G


def _read(text: str) -> tuple[Decimal, str] | None:
    """The number in a text and its suffix, such as ``G`` or ``ms``; None if it has neither."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        return None
    return Decimal(match[1]), match[2] if match[2] in ("ms", "s") else match[2].upper()


@dataclass(frozen=True, order=True)
class Budget:
    """A number of parameters, multiply-adds or microseconds to grow a model to, at least 1.

    Examples:
        >>> scaling.Budget.parse("88e6")
        Budget(unit='params', amount=88000000)
        >>> str(scaling.Budget("macs", 500_000_000))
        '0.5G'
    """

    unit: Unit  #: ``"macs"`` are those of one image, ``"latency"`` microseconds of a forward pass
    amount: int  #: number of units, at least 1

    def __post_init__(self) -> None:
        amount = index(self.amount)  # NumPy's as Python's
        if not 1 <= amount <= _MOST:
            raise ValueError(f"a budget's amount must be from 1 to 10^17, got {amount}")
        object.__setattr__(self, "amount", amount)

    @classmethod
    def parse(cls, text: "str | float | Budget") -> Self:
        """Read a budget; a number, or a budget, is as its text.

        ``K`` and ``M`` are thousands and millions of parameters, ``G`` billions of multiply-adds,
        ``ms`` and ``s`` times. A plain number is parameters below 10^9 (``88e6``), else
        multiply-adds. A ValueError for what is no budget; a number without its suffix gets a hint.
        """
        text = str(text).strip()
        parts = _read(text)
        if parts is None or not round(parts[0] * _SUFFIXES.get(parts[1], (1,))[0]):
            raise ValueError(
                f"budget {text[:40]!r} is not a number with K, M, G or ms; write 88M for "
                "parameters, 22G for multiply-adds or 12ms for the time of a forward pass"
            )
        number, suffix = parts
        if not suffix and number < _MIN_WITHOUT_SUFFIX:
            raise ValueError(
                f"budget {text!r} has no unit; did you mean {text}M (parameters) or {text}G "
                "(multiply-adds)?"
            )
        plain: Unit = "params" if number < _MIN_PLAIN_MACS else "macs"
        factor, unit = _SUFFIXES.get(suffix, (1, plain))
        return cls(unit, round(number * factor))

    def __str__(self) -> str:
        """The text that :meth:`parse` reads back."""
        large = "M" if self.amount >= 10**6 else "K"
        suffix = {"latency": "ms", "macs": "G", "params": large}[self.unit]
        return f"{(Decimal(self.amount) / _SUFFIXES[suffix][0]).normalize():f}{suffix}"

    def of(self, cost: Any) -> int:
        """The size of ``cost`` in this budget's unit."""
        amount = getattr(cost, self.unit)  # a time is in milliseconds
        return round(1000 * amount) if self.unit == "latency" else int(amount)

    def gap(self, cost: Any) -> float:
        """How far ``cost`` is below the budget, as a fraction of it; negative above."""
        return (self.amount - self.of(cost)) / self.amount


def parse_amount(value: str | int, *, least: int = 1) -> int:
    """Read a number such as ``"600M"``: ``K``, ``M`` and ``G`` are 10^3, 10^6 and 10^9.

    A ValueError if it is not a whole number of at least ``least``.
    """
    number, suffix = (" " not in str(value).strip() and _read(str(value))) or (Decimal(0), "s")
    exact = number * _SUFFIXES.get(suffix, (1,))[0]
    if suffix in ("ms", "s") or exact != int(exact) or exact < least:
        raise ValueError(f"{str(value)[:40]!r} is not a number from {least}, such as 600M or 1.2G")
    return int(exact)


def parse_milliseconds(value: str | float) -> float:
    """Read a time such as ``"8ms"`` or ``"0.5s"``; a number is milliseconds.

    A ValueError if it is not a time above 0, or a text without its unit.
    """
    number: Any = value  # may be NumPy's
    if isinstance(number, Real) and 0 < float(number) < math.inf:
        return float(number)
    parts = _read(str(value))
    if parts is None or parts[1] not in ("ms", "s") or not parts[0]:
        raise ValueError(f"{str(value)[:40]!r} is not a time above 0, such as 8ms or 0.5s")
    return float(parts[0] * _SUFFIXES[parts[1]][0] / 1000)


def parse_budgets(
    texts: str | float | Budget | Iterable[str | float | Budget],
) -> tuple[Budget, ...]:
    """Read budgets of one unit, as a comma-separated text, or as one or several texts or numbers.

    Without duplicates, from small to large; a ValueError if there is none, or the units differ.
    """
    parts = texts.split(",") if isinstance(texts, str) else texts
    budgets = sorted(set(map(Budget.parse, parts if isinstance(parts, Iterable) else [parts])))
    if not budgets:
        raise ValueError("no budget; write one or more, such as 30M,50M,88M")
    if budgets[0].unit != budgets[-1].unit:
        raise ValueError(
            f"budgets {', '.join(map(str, budgets))} are of two units; give parameters (M), "
            "multiply-adds (G) or times (ms) alone"
        )
    return tuple(budgets)
