"""SQL types: what they are called, which values they hold in memory, and how they combine.

In memory: BOOLEAN bool, INT and BIGINT int, DOUBLE float, DECIMAL decimal.Decimal, VARCHAR str,
TIMESTAMP int (milliseconds since the epoch, UTC), DATE int (days since the epoch), INTERVAL int (milliseconds);
NULL is None in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    NULL = "NULL"
    BOOLEAN = "BOOLEAN"
    INT = "INT"
    BIGINT = "BIGINT"
    DOUBLE = "DOUBLE"
    DECIMAL = "DECIMAL"
    VARCHAR = "VARCHAR"
    TIMESTAMP = "TIMESTAMP"
    DATE = "DATE"
    INTERVAL = "INTERVAL"


MAX_PRECISION = 38


@dataclass(frozen=True, slots=True)
class Type:
    """A type without its nullability; precision and scale are those of a DECIMAL, else 0."""

    kind: Kind
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        if self.kind is Kind.DECIMAL:
            return f"DECIMAL({self.precision}, {self.scale})"
        return self.kind.value

    @property
    def is_integer(self) -> bool:
        return self.kind in (Kind.INT, Kind.BIGINT)

    @property
    def is_numeric(self) -> bool:
        return self.kind in (Kind.INT, Kind.BIGINT, Kind.DOUBLE, Kind.DECIMAL)


NULL = Type(Kind.NULL)
BOOLEAN = Type(Kind.BOOLEAN)
INT = Type(Kind.INT)
BIGINT = Type(Kind.BIGINT)
DOUBLE = Type(Kind.DOUBLE)
VARCHAR = Type(Kind.VARCHAR)
TIMESTAMP = Type(Kind.TIMESTAMP)
DATE = Type(Kind.DATE)
INTERVAL = Type(Kind.INTERVAL)

_DIGITS = {Kind.INT: 10, Kind.BIGINT: 19}


def decimal_type(precision: int, scale: int) -> Type:
    """A DECIMAL, its precision held to what fits: digits before the point are kept before those after it."""
    if precision > MAX_PRECISION:
        scale = max(min(scale, 6), scale - (precision - MAX_PRECISION))
        precision = MAX_PRECISION
    return Type(Kind.DECIMAL, precision, scale)


def as_decimal(type_: Type) -> Type:
    """The DECIMAL that holds every value of an integer or DECIMAL type."""
    return type_ if type_.kind is Kind.DECIMAL else decimal_type(_DIGITS[type_.kind], 0)


def common_type(left: Type, right: Type) -> Type | None:
    """The type in which values of both are compared or mixed (CASE, COALESCE, IN); None where there is none."""
    if left == right or right.kind is Kind.NULL:
        return left
    if left.kind is Kind.NULL:
        return right
    if left.is_numeric and right.is_numeric:
        if Kind.DOUBLE in (left.kind, right.kind):
            return DOUBLE
        if Kind.DECIMAL in (left.kind, right.kind):
            a, b = as_decimal(left), as_decimal(right)
            scale = max(a.scale, b.scale)
            return decimal_type(max(a.precision - a.scale, b.precision - b.scale) + scale, scale)
        return BIGINT
    if {left.kind, right.kind} == {Kind.DATE, Kind.TIMESTAMP}:
        return TIMESTAMP
    return None
