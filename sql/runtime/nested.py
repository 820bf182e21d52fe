"""ARRAY, MAP, STRUCT and JSON values: read from JSON, written as JSON, their parts taken.

In memory an ARRAY is a tuple, a MAP a dict, a STRUCT a frozen msgspec.Struct and JSON its text; NULL is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import msgspec

from headrace.sql.errors import RecordError
from headrace.sql.runtime import values as v
from headrace.sql.runtime.times import iso_time, parse_iso_time
from headrace.sql.types import Kind, Type, attributes, struct_class

Read = Callable[[Any], Any]
"""From what JSON holds (numbers with a point as Decimal) to the value in memory. RecordError where it is none."""

Times = tuple[Callable[[int], str], Callable[[int], str]]
"""The text forms of TIMESTAMP and of TIMESTAMP_LTZ, where they are written as text."""

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def is_nested(type_: Type) -> bool:
    """Whether values are read from their JSON text, and perhaps written through a conversion."""
    return type_.kind in (Kind.ARRAY, Kind.MAP, Kind.STRUCT, Kind.JSON)


# From JSON


def value_of_json(type_: Type) -> Callable[[Any], Any]:
    """A function that makes a value of the JSON text of a nested type."""
    if type_.kind is Kind.JSON:
        return json_text
    read = reader(type_)

    def convert(raw: Any) -> Any:
        found = _parsed(raw)
        return None if found is None else read(found)

    return convert


def json_text(raw: Any) -> str | None:
    """The text of a JSON value on one line; NULL for null."""
    data = bytes(raw).strip()
    if data == b"null":
        return None
    return data.decode().replace("\n", " ").replace("\r", " ")


def _parsed(raw: Any) -> Any:
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidOperation) as error:
        raise RecordError("type", f"not JSON: {error}") from None
    except RecursionError:
        raise RecordError("type", "nested too deeply") from None


@lru_cache(maxsize=1000)
def reader(type_: Type) -> Read:
    """How a value inside of a nested one is read."""
    match type_.kind:
        case Kind.ARRAY:
            assert type_.element is not None
            return _array_reader(reader(type_.element))
        case Kind.MAP:
            assert type_.element is not None
            return _map_reader(reader(type_.element))
        case Kind.STRUCT:
            return _struct_reader(type_)
        case Kind.JSON:
            return lambda value: _encode(value).decode()
    return _scalar_reader(type_)


def _array_reader(element: Read) -> Read:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _unexpected(value, "an ARRAY")
        return tuple([None if item is None else element(item) for item in value])

    return read


def _map_reader(element: Read) -> Read:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _unexpected(value, "a MAP")
        return {key: None if item is None else element(item) for key, item in value.items()}

    return read


def _struct_reader(type_: Type) -> Read:
    make = struct_class(type_)
    fields = tuple((name, name.lower(), reader(field)) for name, field in type_.fields)

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _unexpected(value, "a STRUCT")
        folded: Mapping[str, Any] | None = None
        parts: list[Any] = []
        for name, lower, part in fields:
            found = value.get(name)
            if found is None and name not in value:
                folded = folded or {key.lower(): item for key, item in value.items()}
                found = folded.get(lower)
            try:
                parts.append(None if found is None else part(found))
            except RecordError as error:
                raise RecordError(error.kind, f"`{name}`: {error}") from None
        return make(*parts)

    return read


_TEXTS: dict[Kind, Read] = {
    Kind.TIMESTAMP: v.parse_iso_timestamp,
    Kind.TIMESTAMP_LTZ: v.parse_iso_timestamp,
    Kind.DATE: v.parse_iso_date,
    Kind.TIME: parse_iso_time,
}


def _scalar_reader(type_: Type) -> Read:
    kind = type_.kind
    low_high = {Kind.INT: (v.INT_MIN, v.INT_MAX)}.get(kind, (v.BIGINT_MIN, v.BIGINT_MAX))

    def read(value: Any) -> Any:
        is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        if isinstance(value, float):  # a whole number of more than 64 bits
            raise RecordError("overflow", f"{value} is out of range of {type_}")
        match kind:
            case Kind.BOOLEAN if isinstance(value, bool):
                return value
            case Kind.VARCHAR if isinstance(value, str):
                return value
            case Kind.DOUBLE if is_number:
                return v.finite(float(value))
            case Kind.DECIMAL if is_number:
                return v.exact_decimal(Decimal(value), type_.precision, type_.scale)
            case Kind.DECIMAL if isinstance(value, str):
                return v.exact_decimal(v.decimal_of_text(value), type_.precision, type_.scale)
            case Kind.BYTES if isinstance(value, str):
                return msgspec.convert(value, bytes)
            case Kind.INT | Kind.BIGINT | Kind.TIMESTAMP | Kind.TIMESTAMP_LTZ if is_number and isinstance(value, int):
                low, high = low_high
                return value if low <= value <= high else v.overflow(str(type_))
            case _ if isinstance(value, str) and kind in _TEXTS:
                return _TEXTS[kind](value)
        raise _unexpected(value, f"a value of {type_}")

    return read


def _unexpected(value: Any, wanted: str) -> RecordError:
    shown = _encode(value).decode()
    return RecordError("type", f"{shown if len(shown) <= 40 else f'{shown[:40]}…'} is not {wanted}")


# To JSON


@lru_cache(maxsize=1000)
def jsonable(type_: Type, times: Times | None = None) -> Callable[[Any], Any] | None:
    """What a value goes through before msgspec encodes it as JSON; None where it goes as it is."""
    match type_.kind:
        case Kind.JSON:
            return raw_json
        case Kind.DATE:
            return v.iso_date
        case Kind.TIME:
            return iso_time
        case Kind.TIMESTAMP:
            return None if times is None else times[0]
        case Kind.TIMESTAMP_LTZ:
            return None if times is None else times[1]
        case Kind.ARRAY | Kind.MAP:
            assert type_.element is not None
            element = jsonable(type_.element, times)
            if element is None:
                return None
            each = element
            if type_.kind is Kind.ARRAY:
                return lambda value: [None if item is None else each(item) for item in value]
            return lambda value: {key: None if item is None else each(item) for key, item in value.items()}
        case Kind.STRUCT:
            return _jsonable_struct(type_, times)
    return None


def _jsonable_struct(type_: Type, times: Times | None) -> Callable[[Any], Any] | None:
    parts = tuple(jsonable(field, times) for _, field in type_.fields)
    if not any(parts):
        return None
    fields = tuple(zip((name for name, _ in type_.fields), attributes(type_), parts, strict=True))

    def convert(value: Any) -> dict[str, Any]:
        found = ((name, getattr(value, attribute), part) for name, attribute, part in fields)
        return {name: item if item is None or part is None else part(item) for name, item, part in found}

    return convert


def raw_json(text: str) -> Any:
    """JSON as msgspec writes it: its text as it is."""
    return msgspec.Raw(text.encode())


def text_of_nested(type_: Type) -> Callable[[Any], str]:
    """The JSON text of a value of a nested type."""
    convert = jsonable(type_)
    return lambda value: _encode(value if convert is None else convert(value)).decode()


def parse_json(text: str) -> str:
    """A text as JSON, on one line. RecordError where it is none."""
    _parsed(text)
    return text.replace("\n", " ").replace("\r", " ").strip()


# Parts


def element_of_array(array: tuple[Any, ...], position: int) -> Any:
    """The element at a position: the first is 1, the last is -1; NULL where there is none."""
    if position > 0:
        return array[position - 1] if position <= len(array) else None
    return array[position] if -len(array) <= position < 0 else None


def element_of_map(map_: Mapping[str, Any], key: str) -> Any:
    """The value of a key; NULL where there is none."""
    return map_.get(key)


def make_map(*parts: Any) -> dict[str, Any]:
    """A MAP of keys and values by turns; of equal keys the last one counts."""
    keys = parts[::2]
    if None in keys:
        raise RecordError("null", "a key of a MAP is NULL")
    return dict(zip(keys, parts[1::2], strict=True))


def transform_map(
    map_: Mapping[str, Any], key_of: Callable[[str, Any], str | None], value_of: Callable[[str, Any], Any]
) -> dict[str, Any]:
    """A MAP of other keys and values; of equal keys the last one counts."""
    made = {key_of(key, value): value_of(key, value) for key, value in map_.items()}
    if None in made:
        raise RecordError("null", "a key of a MAP is NULL")
    return made  # type: ignore[return-value]


def filter_map(map_: Mapping[str, Any], holds: Callable[[str, Any], Any]) -> dict[str, Any]:
    """The entries for which a condition is TRUE."""
    return {key: value for key, value in map_.items() if holds(key, value)}


def reduce_map(map_: Mapping[str, Any], start: Any, step: Callable[[Any, str, Any], Any]) -> Any:
    """The entries folded into one value."""
    for key, value in map_.items():
        start = step(start, key, value)
    return start
