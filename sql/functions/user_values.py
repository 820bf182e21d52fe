"""How values cross the border between SQL and a user's Python, each way; both sides know NULL as None.

A user's function sees `datetime` types and lists where SQL keeps numbers and tuples. What it gives back is checked:
what is no value of the SQL type is a RecordError, which the caller completes with the name of the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from headrace.sql.errors import RecordError
from headrace.sql.runtime import values
from headrace.sql.runtime.nested import parse_json
from headrace.sql.types import DATE, DOUBLE, TIME, TIMESTAMP, VARCHAR, Kind, Type

PYTHON_CLASSES: dict[Kind, type] = {
    Kind.BOOLEAN: bool,
    Kind.INT: int,
    Kind.BIGINT: int,
    Kind.DOUBLE: float,
    Kind.DECIMAL: Decimal,
    Kind.VARCHAR: str,
    Kind.JSON: str,
    Kind.BYTES: bytes,
    Kind.DATE: date,
    Kind.TIME: time,
    Kind.TIMESTAMP: datetime,
    Kind.TIMESTAMP_LTZ: datetime,
    Kind.ARRAY: list,
    Kind.MAP: dict,
}
"""What a user's function gets, and gives, for each kind of type; the others cannot cross."""
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = _EPOCH_UTC.replace(tzinfo=None)
_EPOCH_DAY = _EPOCH.toordinal()
_MILLISECOND = timedelta(milliseconds=1)

Convert = Callable[[Any], Any]


def can_cross(type_: Type) -> bool:
    """Whether values of a type can be given to a user's function and taken from it."""
    return all(part.kind in PYTHON_CLASSES for part in type_.walk())


# Into Python


def to_python(type_: Type) -> Convert | None:
    """What makes a user's value of one in memory that is not NULL; None where they are the same."""
    match type_.kind:
        case Kind.DATE:
            return _date
        case Kind.TIME:
            return _time
        case Kind.TIMESTAMP:
            return _timestamp
        case Kind.TIMESTAMP_LTZ:
            return _moment
        case Kind.ARRAY:
            assert type_.element is not None
            element = _or_none(to_python(type_.element))
            return lambda array: [element(item) for item in array]
        case Kind.MAP:
            assert type_.element is not None
            value = _or_none(to_python(type_.element))
            return lambda map_: {name: value(item) for name, item in map_.items()}
    return None


def _or_none(convert: Convert | None) -> Convert:
    """A conversion of what may be NULL."""
    return lambda value: value if value is None or convert is None else convert(value)


def _date(days: int) -> date:
    try:
        return date.fromordinal(days + _EPOCH_DAY)
    except (ValueError, OverflowError):
        values.overflow("DATE")


def _time(milliseconds: int) -> time:
    return (_EPOCH + milliseconds * _MILLISECOND).time()


def _timestamp(milliseconds: int) -> datetime:
    try:
        return _EPOCH + milliseconds * _MILLISECOND
    except OverflowError:
        values.overflow("TIMESTAMP")


def _moment(milliseconds: int) -> datetime:
    return _timestamp(milliseconds).replace(tzinfo=UTC)


# Out of Python


def from_python(type_: Type) -> Convert:
    """What makes a value in memory of a user's that is not None; RecordError where it is no value of the type."""
    match type_.kind:
        case Kind.INT | Kind.BIGINT:
            return _integer(type_)
        case Kind.DOUBLE:
            return _from_double
        case Kind.DECIMAL:
            return _decimal(type_)
        case Kind.VARCHAR:
            return _from_text
        case Kind.JSON:
            return _from_json
        case Kind.DATE:
            return _from_date
        case Kind.TIME:
            return _from_time
        case Kind.TIMESTAMP | Kind.TIMESTAMP_LTZ:
            return _from_datetime
        case Kind.ARRAY:
            return _array(type_)
        case Kind.MAP:
            return _map(type_)
    return _exactly(type_)


def not_of(type_: Type, value: object) -> RecordError:
    """The error for a value that is none of a type."""
    wanted = PYTHON_CLASSES[type_.kind].__name__
    return RecordError("udf", f"returned {type(value).__name__}, expected {wanted} ({type_})")


def _exactly(type_: Type) -> Convert:
    class_ = PYTHON_CLASSES[type_.kind]

    def convert(value: Any) -> Any:
        if not isinstance(value, class_):
            raise not_of(type_, value)
        return value

    return convert


def _integer(type_: Type) -> Convert:
    in_range = values.in_int if type_.kind is Kind.INT else values.in_bigint

    def convert(value: Any) -> int:
        if type(value) is int:
            return in_range(value)
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise not_of(type_, value)
        return in_range(int(value))  # NumPy's, or an IntEnum's

    return convert


def _from_double(value: Any) -> float:
    if type(value) is float:
        return value if math.isfinite(value) else _not_finite(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise not_of(DOUBLE, value)
    try:
        return _from_double(float(value))
    except OverflowError:
        values.overflow("DOUBLE")


def _not_finite(value: object) -> Any:
    raise RecordError("udf", f"returned {value}, which is no number of SQL's")


def _decimal(type_: Type) -> Convert:
    def convert(value: Any) -> Decimal:
        if isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value)
        elif not isinstance(value, Decimal):
            raise not_of(type_, value)
        if not value.is_finite():
            _not_finite(value)
        return values.fit_decimal(value, type_.precision, type_.scale)

    return convert


def _from_text(value: Any) -> str:
    if not isinstance(value, str):
        raise not_of(VARCHAR, value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise RecordError("udf", "returned a text with half of a surrogate pair, which has no UTF-8 form") from None
    return value if type(value) is str else str.__str__(value)


def _from_json(value: Any) -> str:
    return parse_json(_from_text(value))


def _from_date(value: Any) -> int:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise not_of(DATE, value)
    return value.toordinal() - _EPOCH_DAY


def _from_time(value: Any) -> int:
    if not isinstance(value, time):
        raise not_of(TIME, value)
    if value.tzinfo is not None:
        raise RecordError("udf", "returned a time with a zone, which TIME does not have")
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return seconds * 1000 + value.microsecond // 1000


def _from_datetime(value: Any) -> int:
    if not isinstance(value, datetime):
        raise not_of(TIMESTAMP, value)
    return (value - (_EPOCH if value.tzinfo is None else _EPOCH_UTC)) // _MILLISECOND


def _array(type_: Type) -> Convert:
    assert type_.element is not None
    element = _or_none(from_python(type_.element))

    def convert(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise not_of(type_, value)
        return tuple(element(item) for item in value)

    return convert


def _map(type_: Type) -> Convert:
    assert type_.element is not None
    element = _or_none(from_python(type_.element))

    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise not_of(type_, value)
        return {_from_text(name): element(item) for name, item in value.items()}

    return convert
