"""Expected and actual values compared, and the difference as a person reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import isclose
from typing import Any

import msgspec

from headrace.app.local import DeadLetter
from headrace.sql.errors import RecordError
from headrace.sql.runtime.values import parse_iso_timestamp
from headrace.sql.types import Kind, Type

DOUBLE_TOLERANCE = 1e-9
"""DOUBLE sums are the same up to this, relative: their last digits depend on the order of addition."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def exact_json(raw: bytes | str) -> Any:
    """JSON in which fractions keep their digits."""
    return json.loads(raw, parse_float=Decimal)


def is_same(expected: Any, actual: Any, type_: Type | None) -> bool:
    """Whether two JSON values are one value of a type; TIMESTAMP may be expected as ISO-8601 text."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        types = dict(type_.fields) if type_ is not None else {}
        element = type_.element if type_ is not None else None
        return expected.keys() == actual.keys() and all(
            is_same(value, actual[name], types.get(name, element)) for name, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(actual, list):
        element = type_.element if type_ is not None else None
        pairs = zip(expected, actual, strict=False)
        return len(expected) == len(actual) and all(is_same(one, other, element) for one, other in pairs)
    if _is_number(expected) and _is_number(actual):
        left, right = _decimal(expected), _decimal(actual)
        is_double = type_ is not None and type_.kind is Kind.DOUBLE
        return left == right or (is_double and isclose(float(left), float(right), rel_tol=DOUBLE_TOLERANCE))
    if isinstance(expected, str) and isinstance(actual, int) and type_ is not None and type_.kind is Kind.TIMESTAMP:
        try:
            return parse_iso_timestamp(expected) == actual
        except RecordError:
            return False
    return type(expected) is type(actual) and bool(expected == actual)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _decimal(number: Any) -> Decimal:
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def shown(value: Any) -> str:
    """A value as JSON; None for a record's value is its tombstone."""
    return _encode(value).decode()


def difference(expected: str, actual: str) -> str:
    """Two texts under each other, the first difference marked."""
    pairs = zip(expected, actual, strict=False)
    place = next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(expected), len(actual)))
    return f"  expected {expected}\n  got      {actual}\n           {' ' * place}^"


def dead_letters_shown(letters: Sequence[DeadLetter]) -> str:
    """Lines that tell of dead letters, which are often why something else is missing."""
    return "".join(f"\n  dead letter of {letter.query}: {letter_text(letter)}" for letter in letters)


def letter_text(letter: DeadLetter) -> str:
    origin = f" ({letter.origin})" if letter.origin else ""
    return f"{letter.kind}: {letter.message}{origin}"


def in_any_order(values: Iterable[Any]) -> list[Any]:
    """Values in an order that depends on them alone."""
    return sorted(values, key=shown)
