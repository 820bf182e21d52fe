"""KEY columns of a source: read from the record key, checked against the value."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec

from headrace.sql.errors import RecordError
from headrace.sql.runtime import values as v
from headrace.sql.runtime.binary import unpack
from headrace.sql.runtime.columns import MOMENTS, DecodedColumn, conversion, json_type
from headrace.sql.runtime.nested import is_nested, parse_json, value_of_json
from headrace.sql.runtime.times import parse_iso_time
from headrace.sql.types import Kind


class KeyDecoder:
    """KEY columns: read from the record key, and from the value where the key is null."""

    def __init__(self, columns: Sequence[DecodedColumn], key_format: str) -> None:
        self._columns = tuple(columns)
        self._as_text = len(columns) == 1 and key_format == "kafka"
        self._unpack = unpack(columns[0].type) if key_format == "binary" else None
        self._null = msgspec.json.encode({columns[0].name: None})  # how a sink writes a NULL key of one column
        self._known: dict[bytes, tuple[Any, ...]] = {}

    def fill(self, rows: Sequence[Any], keys: Sequence[bytes | None]) -> bool:
        """Put the key's columns into rows; True where a row needs a closer look."""
        known = self._known
        if len(known) > 100_000:
            known.clear()
        if len(self._columns) > 1:
            return self._fill_several(rows, keys)
        (column,) = self._columns
        in_values = list(map(attrgetter(column.attribute), rows))
        try:
            in_keys = [known[key][0] for key in keys]  # type: ignore[index]
        except KeyError:
            in_keys = [None if key is None else (known.get(key) or self._parse(key))[0] for key in keys]
        if in_values == in_keys:  # as a producer of a keyed stream writes it: nothing to put in
            return not column.nullable and None in in_values
        for row, in_key, in_value in zip(rows, in_keys, in_values, strict=True):
            if in_value is None:
                if in_key is None and not column.nullable:
                    return True
                setattr(row, column.attribute, in_key)
            elif in_key is not None and in_value != in_key:
                return True
        return False

    def _fill_several(self, rows: Sequence[Any], keys: Sequence[bytes | None]) -> bool:
        for row, key in zip(rows, keys, strict=True):
            found = {column.name: getattr(row, column.attribute) for column in self._columns}
            if self.merge(found, key) or any(found[c.name] is None and not c.nullable for c in self._columns):
                return True
            for column in self._columns:
                setattr(row, column.attribute, found[column.name])
        return False

    def merge(self, found: dict[str, Any], key: bytes | None) -> dict[str, RecordError]:
        """Put the key's columns among a record's; what is wrong, by column."""
        if key is None:
            return {}
        try:
            parsed = self._known.get(key) or self._parse(key)
        except RecordError as error:
            return {column.name: error for column in self._columns}
        faults: dict[str, RecordError] = {}
        for column, value in zip(self._columns, parsed, strict=True):
            if found[column.name] is None:
                found[column.name] = value
            elif value is not None and found[column.name] != value:
                in_value = found[column.name]
                message = f"column `{column.name}` is {value!r} in the record key and {in_value!r} in the value"
                faults[column.name] = RecordError("key", message)
        return faults

    def _parse(self, key: bytes) -> tuple[Any, ...]:
        try:
            parsed: tuple[Any, ...]
            if self._unpack is not None:
                parsed = (None if key == self._null else self._unpack(key),)
            elif self._as_text:
                (column,) = self._columns
                is_null = key == self._null
                parsed = (None if is_null else _parse_plain(column, key),)
            else:
                parsed = self._parse_json(key)
        except (UnicodeDecodeError, msgspec.DecodeError, RecordError) as error:
            hint = " (key_format `binary` reads numbers as bytes)" if self._as_text and _looks_packed(key) else ""
            raise RecordError("key", f"the record key cannot be read: {error}{hint}") from None
        except RecursionError:
            raise RecordError("key", "the record key is nested too deeply") from None
        self._known[key] = parsed
        return parsed

    def _parse_json(self, key: bytes) -> tuple[Any, ...]:
        if len(self._columns) == 1 and not key.lstrip().startswith(b"{"):
            return (from_json(self._columns[0], key),)
        fields = msgspec.json.decode(key, type=dict[str, msgspec.Raw])
        folded = {name.lower(): raw for name, raw in fields.items()}
        raws = [fields.get(c.name, folded.get(c.name.lower())) for c in self._columns]
        return tuple(None if raw is None else from_json(c, raw) for c, raw in zip(self._columns, raws, strict=True))


def from_json(column: DecodedColumn, raw: Any) -> Any:
    as_text = column.type.kind in MOMENTS and bytes(raw)[:1] == b'"'
    value = msgspec.json.decode(raw, type=json_type(column, times_as_text=as_text))
    convert = conversion(column, times_as_text=as_text)
    return value if value is None or convert is None else convert(value)


def _looks_packed(key: bytes) -> bool:
    """Whether a key may be a number as ksqlDB's format KAFKA writes it."""
    return len(key) in (4, 8) and not key.decode(errors="replace").isprintable()


def _parse_plain(column: DecodedColumn, key: bytes) -> Any:
    return key if column.type.kind is Kind.BYTES else parse_text(column, key.decode())


def parse_text(column: DecodedColumn, text: str) -> Any:
    """A key as other Kafka tools write it: its plain text."""
    match column.type.kind:
        case Kind.VARCHAR:
            return text
        case Kind.JSON:
            return None if text.strip() == "null" else parse_json(text)
        case _ if is_nested(column.type):
            return value_of_json(column.type)(text.encode())
        case Kind.INT:
            return v.parse_int(text)
        case Kind.BIGINT:
            return v.parse_bigint(text)
        case Kind.DOUBLE:
            return v.parse_double(text)
        case Kind.BOOLEAN:
            return v.parse_boolean(text)
        case Kind.DECIMAL:
            return v.exact_decimal(v.decimal_of_text(text), column.type.precision, column.type.scale)
        case Kind.DATE:
            return v.parse_iso_date(text)
        case Kind.TIME:
            return parse_iso_time(text)
        case _:
            return v.parse_bigint(text) if text.lstrip("-").isdigit() else v.parse_iso_timestamp(text)
