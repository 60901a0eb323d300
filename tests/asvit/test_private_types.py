"""Values held against declared types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

from asvit._types import check_types, is_of


@dataclass(frozen=True)
class Inner:
    name: str


class Told(TypedDict):
    tau: float | None


@dataclass(frozen=True)
class Outer:
    size: int
    inner: Sequence[Inner]


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (3, int),
        (3, float),
        (float("nan"), float),
        ("x", str),
        (None, int | None),
        ([None], Any),
        ("a", Literal["a", "b"]),
        ((1, 2.0), tuple[int, float]),
        ((), tuple[int, ...]),
        ((1, 2, 3), tuple[int, ...]),
        ([1, 2], Sequence[int]),
        ((1, 2), Sequence[int]),
        ({"a": 1}, Mapping[str, int]),
        ({"tau": None, "more": 1}, Told),
        (Path("x"), Path),
        (Outer(1, [Inner("x")]), Outer),
    ],
)
def test_of_the_type(value: object, declared: Any) -> None:
    assert is_of(value, declared)


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (True, int),
        (1, bool),
        (1.0, int),
        ("1", float),
        (b"x", str),
        ([], int | None),
        (True, Literal[1]),
        ((1, 2), tuple[int]),
        ([1], tuple[int, ...]),
        ((1, "x"), tuple[int, ...]),
        (3, tuple[int, ...]),
        ("ab", Sequence[str]),
        ([1, None], Sequence[int]),
        ({1: 1}, Mapping[str, int]),
        ({"a": "b"}, Mapping[str, int]),
        ([], Mapping[str, int]),
        ({}, Told),
        ({"tau": "x"}, Told),
        ("x", Path),
        (Inner("x"), Outer),
        (Outer(1, [Inner(3)]), Outer),  # type: ignore[arg-type]
    ],
)
def test_of_another_type(value: object, declared: Any) -> None:
    assert not is_of(value, declared)


def test_the_field_that_is_wrong_is_named() -> None:
    check_types(Outer(1, []))
    with pytest.raises(ValueError, match=r"^inner may not be 'x\\x1b'$"):
        check_types(Outer(1, "x\x1b"))  # type: ignore[arg-type]
