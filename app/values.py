"""Values of records in formats other than JSON: as people and Python read them, and as a producer would write them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headrace.sql.formats import FormatName
from headrace.sql.plan import Query, Source, value_columns
from headrace.sql.runtime.binary import pack, unpack
from headrace.sql.runtime.encoders import encode_csv
from headrace.sql.types import Kind, Type

_encode = msgspec.json.Encoder(decimal_format="number").encode


class ValueReader:
    """Reads the values of one query's sink: JSON as it is, one column as its value, CSV as its text.

    JSON that nests deeper than Python reads it is its text too.
    """

    def __init__(self, query: Query) -> None:
        self._read: Callable[[bytes], Any] = msgspec.json.decode
        self.is_json = query.sink.value_format.name in (FormatName.JSON, FormatName.JSON_VALUE)
        match query.sink.value_format.name:
            case FormatName.BINARY | FormatName.RAW:
                self._read = unpack(value_columns(query.node, query.sink)[0].type)
            case FormatName.CSV:
                self._read = bytes.decode

    def read(self, value: bytes | None) -> Any:
        try:
            return None if value is None else self._read(value)
        except RecursionError:
            return shown(value)


def shown(value: Any) -> Any:
    """A value that is no JSON, as JSON shows it: bytes that are no text as `{"base64": …}`."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def written(source: Source, value: bytes) -> bytes | None:
    """A JSON object of a source's columns as its format writes it; what does not fit it, as it is.

    None where the one column that is the whole value is NULL.
    """
    if source.value_format.name is FormatName.JSON:
        return value
    try:
        return _written(source, msgspec.json.decode(value, type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return value


def _written(source: Source, fields: Mapping[str, msgspec.Raw]) -> bytes | None:
    folded = {name.lower(): raw for name, raw in fields.items()}
    names = [name for name, is_key in source.value_fields if not (is_key and source.value_format.is_single)]
    raws = [bytes(fields.get(name, folded.get(name.lower(), b"null"))) for name in names]
    match source.value_format.name:
        case FormatName.CSV:
            (line,) = encode_csv([tuple(map(plain_text, raws))], source.value_format.delimiter)
            return line or b""
        case FormatName.JSON_VALUE:
            return None if raws[0] == b"null" else raws[0]
    types = {column.name: column.column.type for column in source.columns}
    return None if raws[0] == b"null" else packed(types[names[0]], raws[0])


def written_alone(source: Source, raw: bytes) -> bytes | None:
    """The `value` of an envelope, as JSON, as its topic has it: formats that are no JSON stand there as text."""
    if source.value_format.name in (FormatName.JSON, FormatName.JSON_VALUE):
        return raw
    value = msgspec.json.decode(raw)
    if isinstance(value, dict) and set(value) == {"base64"} and isinstance(value["base64"], str):
        return base64.b64decode(value["base64"], validate=True)
    if isinstance(value, dict):
        return written(source, raw)
    return value.encode() if isinstance(value, str) else raw


def plain_text(raw: bytes) -> str | None:
    """A JSON scalar as plain text."""
    if raw == b"null":
        return None
    return str(msgspec.json.decode(raw)) if raw[:1] == b'"' else raw.decode()


def packed(type_: Type, raw: bytes) -> bytes:
    """A JSON scalar as the bytes of a value; what is none of the type, as its text."""
    try:
        value = msgspec.json.decode(raw)
    except UnicodeDecodeError:
        return raw
    try:
        if type_.kind is not Kind.BYTES:
            return pack(type_)(value)
        return base64.b64decode(value, validate=True)  # of a text: a number is none
    except (TypeError, ValueError, struct.error):
        return (plain_text(raw) or "").encode()
