"""SQL types: what they are called, which values they hold in memory, and how they combine.

In memory: BOOLEAN bool, INT and BIGINT int, DOUBLE float, DECIMAL decimal.Decimal, VARCHAR str, BYTES bytes, JSON str
(its text), TIMESTAMP and TIMESTAMP_LTZ int (milliseconds since the epoch, UTC), DATE int (days since the epoch), TIME
int (milliseconds since midnight), INTERVAL int (milliseconds), INTERVAL YEAR TO MONTH int (months), ARRAY tuple, MAP
dict with str keys, STRUCT a frozen msgspec.Struct (one class per type); NULL is None in each, elements included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from keyword import iskeyword
from typing import Any

import msgspec


class Kind(StrEnum):
    NULL = "NULL"
    BOOLEAN = "BOOLEAN"
    INT = "INT"
    BIGINT = "BIGINT"
    DOUBLE = "DOUBLE"
    DECIMAL = "DECIMAL"
    VARCHAR = "VARCHAR"
    BYTES = "BYTES"
    JSON = "JSON"
    TIMESTAMP = "TIMESTAMP"
    TIMESTAMP_LTZ = "TIMESTAMP_LTZ"
    DATE = "DATE"
    TIME = "TIME"
    INTERVAL = "INTERVAL"
    MONTHS = "INTERVAL YEAR TO MONTH"
    ARRAY = "ARRAY"
    MAP = "MAP"
    STRUCT = "STRUCT"


MAX_PRECISION = 38


@dataclass(frozen=True, slots=True)
class Type:
    """A type without its nullability; precision and scale are those of a DECIMAL, else 0."""

    kind: Kind
    precision: int = 0
    scale: int = 0
    element: Type | None = None
    """Of an ARRAY the type of its elements, of a MAP that of its values (its keys are VARCHAR)."""
    fields: tuple[tuple[str, Type], ...] = ()
    """Of a STRUCT."""

    def __str__(self) -> str:
        match self.kind:
            case Kind.DECIMAL:
                return f"DECIMAL({self.precision}, {self.scale})"
            case Kind.ARRAY:
                return f"ARRAY<{self.element}>"
            case Kind.MAP:
                return f"MAP<VARCHAR, {self.element}>"
            case Kind.STRUCT:
                return f"STRUCT<{', '.join(f'{name} {type_}' for name, type_ in self.fields)}>"
        return self.kind.value

    def walk(self) -> Iterator[Type]:
        """The type and every type within it."""
        yield self
        if self.element is not None:
            yield from self.element.walk()
        for _, type_ in self.fields:
            yield from type_.walk()

    @property
    def has_keys(self) -> bool:
        """Whether values can be told apart and hashed: what GROUP BY, DISTINCT and PARTITION BY need.

        A DOUBLE is made canonical (one zero) only where it stands alone.
        """
        if self.kind in (Kind.ARRAY, Kind.STRUCT):
            return all(part.kind not in (Kind.MAP, Kind.DOUBLE) for part in self.walk())
        return self.kind not in (Kind.MAP, Kind.JSON)

    @property
    def is_ordered(self) -> bool:
        """Whether values have an order: what comparisons, MIN, MAX and ORDER BY need."""
        return self.kind not in (Kind.ARRAY, Kind.MAP, Kind.STRUCT, Kind.JSON)

    @property
    def is_storable(self) -> bool:
        """Whether it can be the type of a column."""
        return all(part.kind not in (Kind.NULL, Kind.MONTHS) for part in self.walk())

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
BYTES = Type(Kind.BYTES)
JSON = Type(Kind.JSON)
TIMESTAMP = Type(Kind.TIMESTAMP)
TIMESTAMP_LTZ = Type(Kind.TIMESTAMP_LTZ)
DATE = Type(Kind.DATE)
TIME = Type(Kind.TIME)
INTERVAL = Type(Kind.INTERVAL)
MONTHS = Type(Kind.MONTHS)


def array_type(element: Type) -> Type:
    return Type(Kind.ARRAY, element=element)


def map_type(value: Type) -> Type:
    return Type(Kind.MAP, element=value)


def struct_type(*fields: tuple[str, Type]) -> Type:
    return Type(Kind.STRUCT, fields=fields)


def element_of(type_: Type) -> Type:
    """What an ARRAY or a MAP holds."""
    assert type_.element is not None, type_
    return type_.element


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
    kinds = {left.kind, right.kind}
    if kinds == {Kind.DATE, Kind.TIMESTAMP}:
        return TIMESTAMP
    if kinds in ({Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ}, {Kind.DATE, Kind.TIMESTAMP_LTZ}):
        return TIMESTAMP_LTZ
    if left.element is not None and right.element is not None and left.kind is right.kind:
        element = common_type(left.element, right.element)
        return Type(left.kind, element=element) if element is not None else None
    if left.fields and right.fields and [name for name, _ in left.fields] == [name for name, _ in right.fields]:
        pairs = zip(left.fields, right.fields, strict=True)
        types = [(name, common_type(mine, theirs)) for (name, mine), (_, theirs) in pairs]
        fields = tuple((name, type_) for name, type_ in types if type_ is not None)
        return Type(Kind.STRUCT, fields=fields) if len(fields) == len(types) else None
    return None


_SCALARS: dict[Kind, type] = {
    Kind.NULL: int,  # no value of it exists
    Kind.BOOLEAN: bool,
    Kind.INT: int,
    Kind.BIGINT: int,
    Kind.DOUBLE: float,
    Kind.DECIMAL: Decimal,
    Kind.VARCHAR: str,
    Kind.BYTES: bytes,
    Kind.JSON: str,
    Kind.TIMESTAMP: int,
    Kind.TIMESTAMP_LTZ: int,
    Kind.DATE: int,
    Kind.TIME: int,
    Kind.INTERVAL: int,
    Kind.MONTHS: int,
}


def python_type(type_: Type) -> Any:
    """The class of a type's values in memory, as msgspec takes it to encode and decode state."""
    if type_.fields:
        return struct_class(type_)
    if type_.element is None:
        return _SCALARS[type_.kind]
    element = python_type(type_.element) | None
    return tuple[element, ...] if type_.kind is Kind.ARRAY else dict[str, element]  # type: ignore[valid-type]


@lru_cache(maxsize=1000)
def struct_class(type_: Type) -> type[msgspec.Struct]:
    """The class of a STRUCT's values: equal types have the same."""
    names = attributes(type_)
    fields = [(name, python_type(field) | None, None) for name, (_, field) in zip(names, type_.fields, strict=True)]
    rename = {name: field for name, (field, _) in zip(names, type_.fields, strict=True)}
    return msgspec.defstruct("Struct", fields, frozen=True, gc=False, rename=rename)


def attributes(type_: Type) -> tuple[str, ...]:
    """How the fields of a STRUCT are called in Python: by their names where these can be attributes."""
    names = tuple(name for name, _ in type_.fields)
    if all(name.isascii() and name.isidentifier() and name[0] != "_" and not iskeyword(name) for name in names):
        return names
    return tuple(f"f{index}" for index in range(len(names)))
