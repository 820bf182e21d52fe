"""Values as the bytes of Kafka's own serializers (ksqlDB's format KAFKA): one value, numbers big-endian."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from headrace.sql.errors import RecordError
from headrace.sql.types import Kind, Type

_NUMBERS = {Kind.INT: struct.Struct(">i"), Kind.BIGINT: struct.Struct(">q"), Kind.DOUBLE: struct.Struct(">d")}


def pack(type_: Type) -> Callable[[Any], bytes]:
    """A function that makes the bytes of a value."""
    match type_.kind:
        case Kind.VARCHAR:
            return str.encode
        case Kind.BYTES:
            return bytes
    return _NUMBERS[type_.kind].pack


def unpack(type_: Type) -> Callable[[bytes], Any]:
    """A function that makes a value of its bytes. RecordError where they are none of the type."""
    match type_.kind:
        case Kind.VARCHAR:
            return text
        case Kind.BYTES:
            return bytes
    form = _NUMBERS[type_.kind]

    def number(data: bytes) -> Any:
        if len(data) != form.size:
            raise RecordError("type", f"{len(data)} bytes, and {type_} has {form.size}")
        (value,) = form.unpack(data)
        if value != value or value in (float("inf"), float("-inf")):
            raise RecordError("type", f"{value} is not a {type_}")
        return value

    return number


def text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RecordError("type", f"not UTF-8: {error}") from None
