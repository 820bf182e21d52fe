"""Columns of a source as JSON holds them: the types to decode, and what decoded values still go through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from headrace.sql.record_parts import RecordPart
from headrace.sql.runtime import values as v
from headrace.sql.runtime.nested import is_nested, value_of_json
from headrace.sql.runtime.times import parse_iso_time
from headrace.sql.types import Kind, Type


@dataclass(frozen=True, slots=True)
class DecodedColumn:
    """A column to decode: `name` in the data, `attribute` of the row Structs."""

    name: str
    attribute: str
    type: Type
    nullable: bool
    unsigned: bool
    quoted: bool
    key: bool
    part: RecordPart | None = None
    """The part of a record that it holds; None: it is in the value (or the record key)."""


_BOUNDS = {
    Kind.INT: (v.INT_MIN, v.INT_MAX),
    Kind.BIGINT: (v.BIGINT_MIN, v.BIGINT_MAX),
    Kind.TIMESTAMP: (v.BIGINT_MIN, v.BIGINT_MAX),
    Kind.TIMESTAMP_LTZ: (v.BIGINT_MIN, v.BIGINT_MAX),
}
_PYTHON: dict[Kind, Any] = {
    Kind.BOOLEAN: bool,
    Kind.DOUBLE: float,
    Kind.DECIMAL: Decimal,
    Kind.VARCHAR: str,
    Kind.BYTES: bytes,
    Kind.DATE: str,
    Kind.TIME: str,
}
MOMENTS = (Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ)
"""Kinds that JSON may hold as a number or as a text."""


def json_type(column: DecodedColumn, *, times_as_text: bool) -> Any:
    kind = column.type.kind
    if is_nested(column.type):
        return msgspec.Raw
    if kind in MOMENTS and times_as_text:
        type_: Any = str
    elif kind in _BOUNDS:
        low, high = _BOUNDS[kind]
        type_ = Annotated[int, msgspec.Meta(ge=0 if column.unsigned else low, le=high)]
    else:
        type_ = _PYTHON[kind]
    return type_ | None if column.nullable or column.key else type_


def conversion(column: DecodedColumn, *, times_as_text: bool) -> Callable[[Any], Any] | None:
    """What the decoded JSON value still has to go through."""
    if is_nested(column.type):
        return value_of_json(column.type)
    match column.type.kind:
        case Kind.TIMESTAMP | Kind.TIMESTAMP_LTZ if times_as_text:
            return v.parse_iso_timestamp
        case Kind.DATE:
            return v.parse_iso_date
        case Kind.TIME:
            return parse_iso_time
        case Kind.DECIMAL:
            precision, scale = column.type.precision, column.type.scale
            return lambda value: v.exact_decimal(value, precision, scale)
    return None
